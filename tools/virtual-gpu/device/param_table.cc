#include "param_table.h"

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <type_traits>

namespace virtual_gpu {
namespace {

using nlohmann::json;

// Calls visit(name, field, unit, sureness, source) for each parameter.
template <typename Params, typename Visit>
void ForEach(Params* p, const Visit& visit) {
  visit("xccs", &p->xccs, "", "seen", "sysfs num_xcc");
  visit("xcc_start_rotates", &p->xcc_start_rotates, "", "read",
        "current_logical_xcc_start, kfd_mqd_manager_v9.c: true");
  visit("ses_per_xcc", &p->ses_per_xcc, "", "seen", "sysfs array_count / num_xcc");
  visit("cus_per_se", &p->cus_per_se, "CUs", "seen", "sysfs simd_count; even over SEs assumed");
  visit("simds_per_cu", &p->simds_per_cu, "", "seen", "CDNA ISA documents");
  visit("waves_per_simd", &p->waves_per_simd, "waves", "seen", "sysfs max_waves_per_simd");
  visit("vgprs_per_simd", &p->vgprs_per_simd, "per lane", "seen", "CDNA ISA documents");
  visit("vgpr_granule", &p->vgpr_granule, "per lane", "seen", "CDNA ISA documents");
  visit("lds_bytes_per_cu", &p->lds_bytes_per_cu, "bytes", "seen", "sysfs lds_size_in_kb");
  visit("workgroups_per_cu", &p->workgroups_per_cu, "workgroups", "assumed", "16 or 32");
  visit("pipes", &p->pipes, "", "read", "kfd_device_queue_manager.c; MEC1");
  visit("hqd_slots_per_pipe", &p->hqd_slots_per_pipe, "queues", "read", "8, less num_kcq / pipes");
  visit("processes_max", &p->processes_max, "processes", "read", "first_kfd_vmid, gmc_v9_0.c");
  visit("hqd_quantum_ns", &p->hqd_quantum_ns, "ns", "seen", "cp_hqd_quantum 0x111 in an hqds dump");
  visit("runlist_quantum_ns", &p->runlist_quantum_ns, "ns", "read", "MAP_PROCESS.process_quantum");
  visit("packet_launch_ns", &p->packet_launch_ns, "ns", "assumed", "500..5000; gem5, mgpusim");
  visit("packet_other_ns", &p->packet_other_ns, "ns", "assumed", "barrier and vendor packets");
  visit("pipe_priority_effective", &p->pipe_priority_effective, "", "seen",
        "MEC notes; false: as where it is inert");
  visit("queue_priority_effective", &p->queue_priority_effective, "", "read",
        "cp_hqd_queue_priority; not set since 73463e26f7e2");
  visit("hardware_scheduler", &p->hardware_scheduler, "", "read", "HWS; false: MES");
  visit("cwsr", &p->cwsr, "", "read", "cwsr_enable");
  visit("workgroup_spread", &p->workgroup_spread, "+- of the time", "assumed",
        "0..0.5; see Calibration");
  visit("grain_ns", &p->grain_ns, "ns", "model", "0: every workgroup by itself");
  visit("contended_ends", &p->contended_ends, "per grain", "model",
        "ends that a CU sees; bundle.h");
  visit("calm_ns", &p->calm_ns, "ns", "model", "bundles form again after it; bundle.h");
  visit("runlist_cycle_ns", &p->runlist_cycle_ns, "ns", "assumed", "50'000..5'000'000, no waves");
  visit("cwsr_bytes_per_ns", &p->cwsr_bytes_per_ns, "bytes/ns", "assumed", "25 (PCIe)..5300 (HBM)");
  visit("preempt_timeout_ns", &p->preempt_timeout_ns, "ns", "read", "queue_preemption_timeout_ms");
  visit("seed", &p->seed, "", "model", "of all random numbers");
}

}  // namespace

void SetParam(DeviceParams* params, const std::string& name, const json& value) {
  bool found = false;
  std::string known;
  ForEach(params, [&](const char* row, auto* field, auto...) {
    known += std::string(" ") + row;
    if (name != row) return;
    *field = value.get<std::remove_pointer_t<decltype(field)>>();
    found = true;
  });
  if (!found) {
    throw std::runtime_error("params: unknown name '" + name + "'; known are" + known);
  }
}

json ParamsJson(const DeviceParams& params) {
  json values;
  ForEach(&params, [&](const char* row, const auto* field, auto...) { values[row] = *field; });
  return values;
}

std::string ParamTable(const DeviceParams& params) {
  std::string table = "| parameter | value | unit | sure | source |\n|---|---|---|---|---|\n";
  ForEach(&params, [&](const char* row, const auto* field, const char* unit, const char* sure,
                       const char* source) {
    table += std::string("| `") + row + "` | " + json(*field).dump() + " | " + unit + " | " + sure +
             " | " + source + " |\n";
  });
  return table;
}

}  // namespace virtual_gpu
