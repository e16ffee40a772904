// foreign_tool.cc: somebody else's tool of the runtime, built twice.
//
// Why        Profilers and tracers come in the same way as the layer (HSA_TOOLS_LIB), before or after it.
//              foreign-tool            wraps queue creation, doorbells and write indexes in the core table
//              foreign-intercept-tool  makes intercept queues instead, as AMD's profilers do, and puts a
//                                      packet of its own behind each of the program's
//            FOREIGN_TOOL_COMES_BACK: the first makes a queue of its own for each of the program's.
// Output     at the end of the program one line on stderr:
//            "foreign-tool: queues N, packets N, rung for": by indexes and doorbells; without the last two
//            words by what was intercepted.
// Threads    any.
// Errors     a runtime whose extension table is not the one of our headers is left alone, with a line.
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>

#define AMD_INTERNAL_BUILD
#include <hsa/hsa_api_trace.h>
#undef AMD_INTERNAL_BUILD

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

bool g_loaded = false;
CoreApiTable g_below;  // as it stood when we were loaded
std::atomic<std::uint64_t> g_queues{0}, g_packets{0}, g_doorbells{0};

// Not by std::atexit: TSan would call it after ROCr has unloaded us.
[[gnu::destructor]] void Report() {
  static std::atomic<bool> told{false};
  if (!g_loaded || told.exchange(true)) return;
  std::fprintf(stderr, "foreign-tool: queues %lu, packets %lu%s\n", g_queues.load(),
               g_packets.load(), g_doorbells != 0 ? ", rung for" : "");
}

#if FOREIGN_TOOL_INTERCEPTS
decltype(hsa_amd_queue_intercept_create)* g_create;
decltype(hsa_amd_queue_intercept_register)* g_register;

// The program's packets have the barrier bit; what has not is another tool's.
void Observe(const void* packets, std::uint64_t count, std::uint64_t, void*,
             hsa_amd_queue_intercept_packet_writer writer) {
  std::vector<hsa_barrier_and_packet_t> out;
  const auto* in = static_cast<const hsa_barrier_and_packet_t*>(packets);
  for (std::uint64_t i = 0; i < count; ++i) {
    out.push_back(in[i]);
    if ((in[i].header >> HSA_PACKET_HEADER_BARRIER & 1) == 0) continue;
    ++g_packets;
    hsa_barrier_and_packet_t own{};
    own.header =
        HSA_PACKET_TYPE_BARRIER_AND << HSA_PACKET_HEADER_TYPE | 1 << HSA_PACKET_HEADER_BARRIER;
    out.push_back(own);
  }
  writer(out.data(), out.size());
}

hsa_status_t CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                         void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                         std::uint32_t private_bytes, std::uint32_t group_bytes,
                         hsa_queue_t** queue) {
  const hsa_status_t status =
      g_create(agent, size, type, callback, data, private_bytes, group_bytes, queue);
  if (status != HSA_STATUS_SUCCESS) return status;
  ++g_queues;
  return g_register(*queue, Observe, nullptr);
}
#else
hsa_status_t CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                         void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                         std::uint32_t private_bytes, std::uint32_t group_bytes,
                         hsa_queue_t** queue) {
  // Once more through the table, that is, also through whoever was loaded after us.
  static thread_local bool coming_back = false;
  hsa_queue_t* own = nullptr;
  if (std::getenv("FOREIGN_TOOL_COMES_BACK") != nullptr && !coming_back) {
    coming_back = true;
    hsa_queue_create(agent, 64, HSA_QUEUE_TYPE_MULTI, nullptr, nullptr, UINT32_MAX, UINT32_MAX,
                     &own);
    coming_back = false;
  }
  const hsa_status_t status = g_below.hsa_queue_create_fn(agent, size, type, callback, data,
                                                          private_bytes, group_bytes, queue);
  if (status == HSA_STATUS_SUCCESS) ++g_queues;
  return status;
}

// A program adds to the index; who publishes for it exchanges it.
template <auto below>
std::uint64_t Add(const hsa_queue_t* queue, std::uint64_t count) {
  g_packets += count;
  return (g_below.*below)(queue, count);
}
template <auto below>
std::uint64_t Exchange(const hsa_queue_t* queue, std::uint64_t expected, std::uint64_t value) {
  const std::uint64_t found = (g_below.*below)(queue, expected, value);
  if (found == expected) g_packets += value - expected;
  return found;
}
template <auto below>
void Ring(hsa_signal_t signal, hsa_signal_value_t value) {
  ++g_doorbells;
  (g_below.*below)(signal, value);
}

void WrapPacketPath(CoreApiTable* t) {
  using T = CoreApiTable;
  t->hsa_queue_add_write_index_scacq_screl_fn = Add<&T::hsa_queue_add_write_index_scacq_screl_fn>;
  t->hsa_queue_add_write_index_scacquire_fn = Add<&T::hsa_queue_add_write_index_scacquire_fn>;
  t->hsa_queue_add_write_index_screlease_fn = Add<&T::hsa_queue_add_write_index_screlease_fn>;
  t->hsa_queue_add_write_index_relaxed_fn = Add<&T::hsa_queue_add_write_index_relaxed_fn>;
  t->hsa_queue_cas_write_index_scacq_screl_fn =
      Exchange<&T::hsa_queue_cas_write_index_scacq_screl_fn>;
  t->hsa_queue_cas_write_index_scacquire_fn = Exchange<&T::hsa_queue_cas_write_index_scacquire_fn>;
  t->hsa_queue_cas_write_index_screlease_fn = Exchange<&T::hsa_queue_cas_write_index_screlease_fn>;
  t->hsa_queue_cas_write_index_relaxed_fn = Exchange<&T::hsa_queue_cas_write_index_relaxed_fn>;
  t->hsa_signal_store_screlease_fn = Ring<&T::hsa_signal_store_screlease_fn>;
  t->hsa_signal_store_relaxed_fn = Ring<&T::hsa_signal_store_relaxed_fn>;
}
#endif

}  // namespace

extern "C" bool OnLoad(HsaApiTable* table, std::uint64_t, std::uint64_t, const char* const*);
extern "C" void OnUnload();

extern "C" bool OnLoad(HsaApiTable* table, std::uint64_t, std::uint64_t, const char* const*) {
  g_below = *table->core_;
  g_loaded = true;
#if FOREIGN_TOOL_INTERCEPTS
  if (table->amd_ext_->version.minor_id != sizeof(AmdExtTable)) {
    std::fprintf(stderr, "foreign-tool: the extension table has %u bytes, not %zu: left alone\n",
                 table->amd_ext_->version.minor_id, sizeof(AmdExtTable));
    return true;
  }
  g_create = table->amd_ext_->hsa_amd_queue_intercept_create_fn;
  g_register = table->amd_ext_->hsa_amd_queue_intercept_register_fn;
#else
  WrapPacketPath(table->core_);
#endif
  table->core_->hsa_queue_create_fn = CreateQueue;
  return true;
}

extern "C" void OnUnload() { Report(); }
