// intercept-tool: a tool that does nothing but take every packet through ROCr's intercept queue.
//
// Why        The bench's yardstick: what ROCr's own road costs a producer before anybody uses it.
// Errors     a runtime whose extension table is not the one of our headers is left alone.
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#include <cstdint>

#define AMD_INTERNAL_BUILD
#include <hsa/hsa_api_trace.h>
#undef AMD_INTERNAL_BUILD

namespace {

decltype(hsa_amd_queue_intercept_create)* g_create;
decltype(hsa_amd_queue_intercept_register)* g_register;

void PassOn(const void* packets, uint64_t count, uint64_t, void*,
            hsa_amd_queue_intercept_packet_writer writer) {
  writer(packets, count);
}

hsa_status_t CreateQueue(hsa_agent_t agent, uint32_t size, hsa_queue_type32_t type,
                         void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                         uint32_t private_bytes, uint32_t group_bytes, hsa_queue_t** queue) {
  const hsa_status_t status =
      g_create(agent, size, type, callback, data, private_bytes, group_bytes, queue);
  if (status == HSA_STATUS_SUCCESS) g_register(*queue, PassOn, nullptr);
  return status;
}

}  // namespace

extern "C" bool OnLoad(HsaApiTable* table, uint64_t, uint64_t, const char* const*);
extern "C" void OnUnload();

extern "C" bool OnLoad(HsaApiTable* table, uint64_t, uint64_t, const char* const*) {
  if (table->amd_ext_->version.minor_id != sizeof(AmdExtTable)) return true;
  g_create = table->amd_ext_->hsa_amd_queue_intercept_create_fn;
  g_register = table->amd_ext_->hsa_amd_queue_intercept_register_fn;
  table->core_->hsa_queue_create_fn = CreateQueue;
  return true;
}
extern "C" void OnUnload() {}
