// device_params.h: every number of the device model, with its unit, its source and how sure it is.
//
// Why        One table. What nobody has measured is a range; `Default` is a choice inside it and is
//            printed with the results that depend on it.
// Sources    [S] read in amdkfd/ROCr source; [D] document, log or dump; [U] unknown, a range.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "packet_source.h"

namespace virtual_gpu {

struct DeviceParams {
  std::string name = "mi308x";

  // Geometry of compute: workgroup i goes to the i-th XCC in turn. [D] topology dumps, kfd_sysfs
  std::uint32_t xccs = 4;
  // The XCC of workgroup 0 is the next one for each queue that is made (true), or always XCC 0.
  bool xcc_start_rotates = false;  // [S] current_logical_xcc_start; see docs/virtual-gpu.md
  std::uint32_t ses_per_xcc = 4;
  std::vector<std::uint32_t> cus_per_se = {5, 5, 5, 5};  // active CUs of each SE of one XCC

  // Occupancy limits of one CU. [D] max_waves_per_simd, CDNA ISA documents
  std::uint32_t simds_per_cu = 4;
  std::uint32_t waves_per_simd = 8;
  std::uint32_t vgprs_per_simd = 512;  // per lane; unified file on gfx90a and later
  std::uint32_t vgpr_granule = 8;
  std::uint32_t lds_bytes_per_cu = 65536;
  std::uint32_t workgroups_per_cu = 32;  // [U] 16 or 32

  // Command processor. [S] kfd_device_queue_manager.c, [D] hqds dumps
  std::uint32_t pipes = 4;
  std::uint32_t hqd_slots_per_pipe = 6;    // 24 usable with num_kcq=8
  std::uint32_t processes_max = 13;        // VMIDs 3..15
  TimeNs hqd_quantum_ns = 1'000'000;       // cp_hqd_quantum 0x111
  TimeNs runlist_quantum_ns = 10'000'000;  // over-subscription; process_quantum
  TimeNs packet_launch_ns = 1'000;         // [U] 0.5..5 us
  TimeNs packet_other_ns = 500;            // [U] barrier and vendor packets
  bool pipe_priority_effective = true;     // SPI arbitration by pipe priority
  bool queue_priority_effective = false;   // inside a pipe; inert since kernels of February 2026
  bool hardware_scheduler = true;          // HWS: every change is a cycle for everybody; false: MES
  bool cwsr = true;                        // false: preemption drains running waves

  // Workgroups. Variation is what makes slots free one by one, as on hardware.
  double workgroup_spread = 0.25;  // [U] uniform +- around workgroup_ns, 0..0.5
  // The simulation's own coarseness (bundle.h): none of these is a property of hardware. grain_ns 0
  // runs every workgroup by itself; the others are then without effect.
  TimeNs grain_ns = 20'000;   // contended workgroups: so that a CU sees contended_ends ends in it
  double contended_ends = 8;  // see docs/virtual-gpu.md for what more and fewer give
  TimeNs calm_ns = 20'000;    // bundles form again when nobody waited in an XCC for this long

  // Preemption costs. [U] nobody has published them; shown over their range
  TimeNs runlist_cycle_ns = 200'000;          // 50'000..5'000'000: submit, dequeue, remap, no waves
  double cwsr_bytes_per_ns = 100.0;           // save or restore bandwidth, 25 (PCIe)..5300 (HBM)
  TimeNs preempt_timeout_ns = 9'000'000'000;  // [S] queue_preemption_timeout_ms

  std::uint64_t seed = 1;
};

}  // namespace virtual_gpu
