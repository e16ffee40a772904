// real_api.h: the HSA functions below us, as they stood when we were loaded.
//
// Why        Our logic takes them as arguments, so it can be tested without a runtime, and a tool
//            that was loaded before us stays in the chain (facts: ROCr patches tools in load
//            order).
// Threads    filled once in OnLoad, read-only after.
#pragma once

#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

// Debian's header asks for this name to find its neighbours.
#define AMD_INTERNAL_BUILD
#include <hsa/hsa_api_trace.h>
#undef AMD_INTERNAL_BUILD

#include "queue_descriptor.h"

namespace xsched_hsa {

struct RealApi {
  decltype(hsa_queue_create)* queue_create;
  decltype(hsa_queue_destroy)* queue_destroy;
  decltype(hsa_queue_inactivate)* queue_inactivate;
  decltype(hsa_agent_get_info)* agent_get_info;
  decltype(hsa_amd_queue_set_priority)* queue_set_priority;
  decltype(hsa_amd_queue_cu_set_mask)* queue_cu_set_mask;
  // Null where the runtime's extension table is not long enough, or not known (ext_table.h).
  decltype(hsa_amd_queue_intercept_create)* queue_intercept_create;
  decltype(hsa_amd_queue_intercept_register)* queue_intercept_register;
  hsa_status_t (*amd_queue_create)(hsa_agent_t, QueueDescriptor*, std::uint32_t);
  hsa_status_t (*counted_queue_acquire)(hsa_agent_t, hsa_queue_type_t, hsa_amd_queue_priority_t,
                                        void (*)(hsa_status_t, hsa_queue_t*, void*), void*,
                                        std::uint64_t, hsa_queue_t**);
  hsa_status_t (*counted_queue_release)(hsa_queue_t*);

  decltype(hsa_signal_create)* signal_create;
  decltype(hsa_signal_destroy)* signal_destroy;
  decltype(hsa_signal_load_scacquire)* signal_load_scacquire;

  decltype(hsa_queue_load_read_index_scacquire)* load_read_index_scacquire;
  decltype(hsa_queue_load_read_index_relaxed)* load_read_index_relaxed;
  decltype(hsa_queue_load_write_index_scacquire)* load_write_index_scacquire;
  decltype(hsa_queue_load_write_index_relaxed)* load_write_index_relaxed;
  decltype(hsa_queue_store_write_index_relaxed)* store_write_index_relaxed;
  decltype(hsa_queue_store_write_index_screlease)* store_write_index_screlease;
  decltype(hsa_queue_cas_write_index_scacq_screl)* cas_write_index_scacq_screl;
  decltype(hsa_queue_cas_write_index_scacquire)* cas_write_index_scacquire;
  decltype(hsa_queue_cas_write_index_relaxed)* cas_write_index_relaxed;
  decltype(hsa_queue_cas_write_index_screlease)* cas_write_index_screlease;
  decltype(hsa_queue_add_write_index_scacq_screl)* add_write_index_scacq_screl;
  decltype(hsa_queue_add_write_index_scacquire)* add_write_index_scacquire;
  decltype(hsa_queue_add_write_index_relaxed)* add_write_index_relaxed;
  decltype(hsa_queue_add_write_index_screlease)* add_write_index_screlease;

  decltype(hsa_signal_store_relaxed)* signal_store_relaxed;
  decltype(hsa_signal_store_screlease)* signal_store_screlease;
  decltype(hsa_signal_silent_store_relaxed)* signal_silent_store_relaxed;
  decltype(hsa_signal_silent_store_screlease)* signal_silent_store_screlease;
};

}  // namespace xsched_hsa
