#include "topology.h"

#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

namespace virtual_gpu {
namespace {

namespace fs = std::filesystem;

using Properties = std::vector<std::pair<const char*, std::uint64_t>>;

constexpr std::uint32_t kAmdVendor = 0x1002;
constexpr std::uint32_t kPcieLink = 2;
constexpr std::uint32_t kXgmiLink = 11;
constexpr std::uint32_t kMemoryWidthBits = 8192;  // HBM; shown, not modelled
constexpr std::uint32_t kMemoryMhz = 1300;

void WriteText(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path);
  out.exceptions(std::ios::failbit | std::ios::badbit);
  out << text;
}

void WriteProperties(const fs::path& path, const Properties& properties) {
  std::string text;
  for (const auto& [key, value] : properties) {
    text += key + std::string(" ") + std::to_string(value) + "\n";
  }
  WriteText(path, text);
}

void WriteLink(const fs::path& node, unsigned number, std::uint32_t type, std::size_t from,
               std::size_t to) {
  const bool pcie = type == kPcieLink;
  WriteProperties(node / "io_links" / std::to_string(number) / "properties",
                  {{"type", type},
                   {"version_major", 0},
                   {"version_minor", 0},
                   {"node_from", from},
                   {"node_to", to},
                   {"weight", pcie ? 20u : 15u},
                   {"min_latency", 0},
                   {"max_latency", 0},
                   {"min_bandwidth", pcie ? 312u : 64000u},
                   {"max_bandwidth", 64000},
                   {"recommended_transfer_size", 0},
                   {"recommended_sdma_engine_id_mask", 0},
                   {"flags", 1}});
}

void WriteCpuNode(const fs::path& node, std::size_t gpus) {
  const auto cpus = static_cast<std::uint64_t>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto memory = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                      static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  WriteText(node / "gpu_id", "0\n");
  WriteText(node / "name", "\n");
  WriteProperties(node / "properties", {{"cpu_cores_count", cpus},
                                        {"simd_count", 0},
                                        {"mem_banks_count", 1},
                                        {"caches_count", 0},
                                        {"io_links_count", gpus},
                                        {"p2p_links_count", 0},
                                        {"cpu_core_id_base", 0},
                                        {"simd_id_base", 0},
                                        {"max_waves_per_simd", 0},
                                        {"lds_size_in_kb", 0},
                                        {"gds_size_in_kb", 0},
                                        {"num_gws", 0},
                                        {"wave_front_size", 0},
                                        {"array_count", 0},
                                        {"simd_arrays_per_engine", 0},
                                        {"cu_per_simd_array", 0},
                                        {"simd_per_cu", 0},
                                        {"max_slots_scratch_cu", 0},
                                        {"gfx_target_version", 0},
                                        {"vendor_id", 0},
                                        {"device_id", 0},
                                        {"location_id", 0},
                                        {"domain", 0},
                                        {"drm_render_minor", 0},
                                        {"hive_id", 0},
                                        {"max_engine_clk_ccompute", 3000}});
  WriteProperties(node / "mem_banks" / "0" / "properties", {{"heap_type", 0},
                                                            {"size_in_bytes", memory},
                                                            {"flags", 0},
                                                            {"width", 72},
                                                            {"mem_clk_max", 3200}});
  for (std::size_t gpu = 0; gpu < gpus; ++gpu) {
    WriteLink(node, static_cast<unsigned>(gpu), kPcieLink, 0, gpu + 1);
  }
}

void WriteGpuProperties(const fs::path& node, const TopologyGpu& gpu, std::size_t index,
                        std::size_t gpus) {
  const GpuModel& m = gpu.model;
  const DeviceProfile& d = m.part;
  const DeviceParams& p = d.params;
  WriteProperties(node / "properties",
                  {{"cpu_cores_count", 0},
                   {"simd_count", d.SimdCount()},
                   {"mem_banks_count", 1},
                   {"caches_count", d.l3_cache_kib ? 4u : 3u},
                   {"io_links_count", gpus},
                   {"p2p_links_count", 0},
                   {"cpu_core_id_base", 0},
                   {"simd_id_base", 0x80001000u + index * 0x1000},
                   {"max_waves_per_simd", p.waves_per_simd},
                   {"lds_size_in_kb", p.lds_bytes_per_cu / 1024},
                   {"gds_size_in_kb", 0},
                   {"num_gws", 64},
                   {"wave_front_size", 64},
                   {"array_count", d.ArrayCount()},
                   {"simd_arrays_per_engine", 1},
                   {"cu_per_simd_array", d.cu_per_simd_array},
                   {"simd_per_cu", p.simds_per_cu},
                   {"max_slots_scratch_cu", d.max_slots_scratch_cu},
                   {"gfx_target_version", m.gfx_target_version},
                   {"vendor_id", kAmdVendor},
                   {"device_id", d.device_id},
                   {"location_id", LocationOf(index)},
                   {"domain", 0},
                   {"drm_render_minor", kFirstRenderMinor + index},
                   {"hive_id", gpus > 1 ? 0x9388f5b5c1d2a3e7ull : 0ull},
                   {"num_sdma_engines", d.num_sdma_engines},
                   {"num_sdma_xgmi_engines", d.num_sdma_xgmi_engines},
                   {"num_sdma_queues_per_engine", d.num_sdma_queues_per_engine},
                   {"num_cp_queues", d.num_cp_queues},
                   {"max_engine_clk_fcompute", d.max_clock_mhz},
                   {"local_mem_size", 0},
                   {"fw_version", d.fw_version},
                   {"capability", CapabilityBits()},
                   {"debug_prop", d.debug_prop},
                   {"sdma_fw_version", d.sdma_fw_version},
                   {"unique_id", 0x3cbe0a1d00000001ull + index},
                   {"num_xcc", p.xccs},
                   {"max_engine_clk_ccompute", 3000}});
}

void WriteCache(const fs::path& node, unsigned number, std::uint32_t level, std::uint64_t kilobytes,
                std::uint32_t line, std::uint32_t type) {
  WriteText(node / "caches" / std::to_string(number) / "properties",
            "processor_id_low 2147487744\nlevel " + std::to_string(level) + "\nsize " +
                std::to_string(kilobytes) + "\ncache_line_size " + std::to_string(line) +
                "\ncache_lines_per_tag 1\nassociation 16\nlatency 0\ntype " + std::to_string(type) +
                "\nsibling_map 1\n");
}

void WriteGpuNode(const fs::path& nodes, const std::vector<TopologyGpu>& gpus, std::size_t index) {
  const TopologyGpu& gpu = gpus[index];
  const fs::path node = nodes / std::to_string(index + 1);
  WriteText(node / "gpu_id", std::to_string(gpu.gpu_id) + "\n");
  WriteText(node / "name", "virtual\n");
  WriteGpuProperties(node, gpu, index, gpus.size());
  // Heap type 1, frame buffer public: a large BAR, so that the runtime writes VRAM directly.
  WriteProperties(node / "mem_banks" / "0" / "properties",
                  {{"heap_type", 1},
                   {"size_in_bytes", gpu.model.part.vram_bytes},
                   {"flags", 0},
                   {"width", kMemoryWidthBits},
                   {"mem_clk_max", kMemoryMhz}});
  constexpr std::uint32_t kDataOfCu = 1 | 8, kInstructionOfCu = 2 | 8;
  const DeviceProfile& part = gpu.model.part;
  // One of each kind, where KFD lists one for every CU or XCC.
  WriteCache(node, 0, 1, part.l1_cache_kib, part.l1_line_bytes, kDataOfCu);
  WriteCache(node, 1, 1, 32, 64, kInstructionOfCu);
  WriteCache(node, 2, 2, part.l2_cache_kib, 128, kDataOfCu);
  if (part.l3_cache_kib != 0) WriteCache(node, 3, 3, part.l3_cache_kib, 128, kDataOfCu);
  unsigned link = 0;
  WriteLink(node, link++, kPcieLink, index + 1, 0);
  for (std::size_t peer = 0; peer < gpus.size(); ++peer) {
    if (peer != index) WriteLink(node, link++, kXgmiLink, index + 1, peer + 1);
  }
}

std::string Hex(const char* format, std::uint64_t value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, static_cast<unsigned>(value));
  return text;
}

// What libdrm asks about /sys/dev/char/226:N before it accepts a render node.
void WriteDrmNode(const fs::path& root, const TopologyGpu& gpu, std::size_t index) {
  const std::string minor = std::to_string(kFirstRenderMinor + index);
  const fs::path device = root / "sys/dev/char" / ("226:" + minor) / "device";
  const std::string slot = Hex("0000:%02x:00.0", LocationOf(index) >> 8);
  fs::create_directories(device / "drm" / ("renderD" + minor));
  // By the primary node's name libdrm tells devices apart: without one all of them are one, and libhsakmt 6 maps
  // each GPU's memory through the first one's descriptor.
  fs::create_directories(device / "drm" / ("card" + std::to_string(index)));
  WriteText(device / "vendor", Hex("0x%04x\n", kAmdVendor));
  WriteText(device / "device", Hex("0x%04x\n", gpu.model.part.device_id));
  WriteText(device / "revision", "0x00\n");
  WriteText(device / "subsystem_vendor", Hex("0x%04x\n", kAmdVendor));
  WriteText(device / "subsystem_device", "0x0c34\n");
  WriteText(device / "uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=" + slot + "\n");
  fs::create_symlink("../../../../bus/pci", device / "subsystem");
  fs::create_directories(root / "sys/class/drm" / ("renderD" + minor));
  fs::create_symlink("../../../dev/char/226:" + minor + "/device",
                     root / "sys/class/drm" / ("renderD" + minor) / "device");
  WriteText(root / "dev/dri" / ("renderD" + minor), "");
}

}  // namespace

// Doorbell type 2 (ROCr refuses others), 4 watch points, ASIC revision 1, ECC on memory and SRAM,
// and the debugger's bits as an MI300X shows them (0x2c77a280). Without those of the debugger
// ROCr 6.4 and later cannot be initialised twice: its shutdown gives up at RUNTIME_ENABLE before it
// closes KFD. No SVM: the virtual GPU has no page migration.
std::uint64_t CapabilityBits() {
  constexpr std::uint64_t kWatchPoints = (1u << 7) | (2u << 8);
  constexpr std::uint64_t kDoorbellType2 = 2u << 12;
  constexpr std::uint64_t kTrapDebug = 1u << 15, kTrapOverride = 1u << 16, kLaunchMode = 1u << 17;
  constexpr std::uint64_t kPreciseMemory = 1u << 18, kDebugFirmware = 1u << 29;
  constexpr std::uint64_t kMemoryEcc = 1u << 20, kRasEvents = 1u << 21, kSramEcc = 1u << 26;
  constexpr std::uint64_t kAsicRevision1 = 1u << 22;
  return kWatchPoints | kDoorbellType2 | kTrapDebug | kTrapOverride | kLaunchMode | kPreciseMemory |
         kDebugFirmware | kMemoryEcc | kRasEvents | kSramEcc | kAsicRevision1;
}

std::uint64_t LocationOf(std::size_t index) { return (0x47u + index) << 8; }

void GenerateTopology(const fs::path& root, const std::vector<TopologyGpu>& gpus) {
  const fs::path topology = root / "sys/devices/virtual/kfd/kfd/topology";
  WriteText(topology / "generation_id", "1\n");
  WriteProperties(topology / "system_properties",
                  {{"platform_oem", 0}, {"platform_id", 0}, {"platform_rev", 0}});
  WriteCpuNode(topology / "nodes/0", gpus.size());
  std::string ids = "1.0.0\n";
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    WriteGpuNode(topology / "nodes", gpus, i);
    WriteDrmNode(root, gpus[i], i);
    ids += Hex("%04X,\t00,\t", gpus[i].model.part.device_id) + gpus[i].model.part.marketing_name +
           "\n";
  }
  fs::create_directories(root / "sys/class/kfd");
  fs::create_symlink("../../devices/virtual/kfd/kfd", root / "sys/class/kfd/kfd");
  WriteText(root / "sys/module/amdgpu/initstate", "live\n");
  WriteText(root / "sys/module/amdgpu/version", "6.12.12\n");
  fs::create_directories(root / "sys/module/amdgpu/holders");
  // What is modelled, in the driver's own words: hardware scheduling, and waves saved when
  // preempted.
  constexpr std::pair<const char*, const char*> kParameters[] = {
      {"cwsr_enable", "1"},
      {"emu_mode", "0"},
      {"mes", "0"},
      {"sched_policy", "0"},
      {"queue_preemption_timeout_ms", "9000"}};
  for (const auto& [name, value] : kParameters) {
    WriteText(root / "sys/module/amdgpu/parameters" / name, value + std::string("\n"));
  }
  WriteText(root / "proc/modules", "amdgpu 19742720 1 - Live 0x0000000000000000\n");
  WriteText(root / "usr/share/libdrm/amdgpu.ids", ids);
  // Everybody's, unless a test changes the mode; the interposer asks it as the kernel would.
  WriteText(root / "dev/kfd", "");
  fs::permissions(root / "dev/kfd", fs::perms(0666));
}

}  // namespace virtual_gpu
