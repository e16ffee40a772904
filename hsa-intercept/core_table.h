// core_table.h: the part of ROCr's API tables that the layer reads, and what it takes to trust it.
//
// Why        A table's layout is told by its version's minor_id (its size in bytes), never by the
//            header we were built with. The core table has had one layout in all releases from ROCr
//            5.2 on.
// Source     hsa_api_trace.h of rocm-5.2.3 … 7.0: CoreApiTable is 1016 bytes throughout;
//            AmdExtTable 400 (5.2.3), 424 (5.5), 456 (5.6), and longer since, only by appending.
// Errors     CheckTables says in `why` which version it does not know; the layer then stays out.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ext_table.h"
#include "real_api.h"
#include "session.h"

namespace xsched_hsa {

static_assert(offsetof(CoreApiTable, hsa_queue_create_fn) == 72);
static_assert(offsetof(CoreApiTable, hsa_queue_destroy_fn) == 88);
static_assert(offsetof(CoreApiTable, hsa_signal_store_screlease_fn) == 352);
static_assert(sizeof(CoreApiTable) == 1016);
// The extension table of the header that this is built with is as ext_table.h has it.
inline constexpr ExtTable kBuiltWith = ExtTableOf(1, sizeof(AmdExtTable));
static_assert(kBuiltWith.known);
static_assert(offsetof(AmdExtTable, hsa_amd_queue_cu_set_mask_fn) == kBuiltWith.cu_set_mask);
static_assert(offsetof(AmdExtTable, hsa_amd_queue_intercept_create_fn) ==
              kBuiltWith.intercept_create);
static_assert(offsetof(AmdExtTable, hsa_amd_queue_intercept_register_fn) ==
              kBuiltWith.intercept_register);
static_assert(offsetof(AmdExtTable, hsa_amd_queue_set_priority_fn) == kBuiltWith.set_priority);
static_assert(offsetof(HsaApiTable, core_) == 16 && offsetof(HsaApiTable, amd_ext_) == 24);

// True if every field that InstallHooks touches is there. Fills `version` as far as it can be read.
bool CheckTables(const HsaApiTable* table, RuntimeVersion* version, char* why,
                 std::uint32_t why_bytes);

}  // namespace xsched_hsa
