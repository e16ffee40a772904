#include "core_table.h"

#include <cstdio>

namespace xsched_hsa {
namespace {

// Root and core majors of the releases whose layout is known: 1 (5.2-5.7), 2 (6.0), 3 (6.1 on).
constexpr std::uint32_t kRootMajorMax = 3;
constexpr std::uint32_t kCoreMajorMax = 2;

}  // namespace

bool CheckTables(const HsaApiTable* table, RuntimeVersion* version, char* why,
                 std::uint32_t why_bytes) {
  if (table == nullptr) {
    std::snprintf(why, why_bytes, "the runtime handed over no API table");
    return false;
  }
  version->table_major = table->version.major_id;
  const bool root_known = version->table_major >= 1 && version->table_major <= kRootMajorMax;
  const bool root_complete =
      table->version.minor_id >= offsetof(HsaApiTable, amd_ext_) + sizeof(AmdExtTable*);
  if (!root_known || !root_complete || table->core_ == nullptr) {
    std::snprintf(
        why, why_bytes,
        "HSA API table version %u with %u bytes is unknown (known: 1..%u); update xsched-hsa",
        table->version.major_id, table->version.minor_id, kRootMajorMax);
    return false;
  }
  if (table->amd_ext_ != nullptr) version->ext_table_bytes = table->amd_ext_->version.minor_id;
  const ApiTableVersion& core = table->core_->version;
  if (core.major_id < 1 || core.major_id > kCoreMajorMax || core.minor_id < sizeof(CoreApiTable)) {
    std::snprintf(
        why, why_bytes,
        "HSA core table version %u with %u bytes is unknown (known: 1..%u, %zu bytes or more); "
        "update xsched-hsa",
        core.major_id, core.minor_id, kCoreMajorMax, sizeof(CoreApiTable));
    return false;
  }
  return true;
}

}  // namespace xsched_hsa
