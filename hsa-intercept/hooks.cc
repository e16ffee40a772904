// hooks.cc: the packet path.
//
// The program reserves slots on our index (a plain atomic instead of a call into ROCr), writes its
// packet into its own ring, and rings: the doorbell store is where packets are published or held.
// Each index hook uses the memory order its name promises, or a stronger one.
#include "hooks.h"

#include "layer.h"
#include "log.h"

namespace xsched_hsa {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;

inline ManagedQueue* Find(const hsa_queue_t* queue) { return TheLayer().registry()->Find(queue); }
inline const RealApi& Real() { return *TheLayer().real(); }

// ---------------------------------------------------------------------------------- queues
hsa_status_t CreateQueue(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                         void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                         std::uint32_t private_segment_size, std::uint32_t group_segment_size,
                         hsa_queue_t** queue) {
  return TheLayer().CreateQueue(agent, size, type, callback, data, private_segment_size,
                                group_segment_size, queue);
}
hsa_status_t DestroyQueue(hsa_queue_t* queue) { return TheLayer().DestroyQueue(queue); }
hsa_status_t InactivateQueue(hsa_queue_t* queue) { return TheLayer().InactivateQueue(queue); }
hsa_status_t CreateQueues(hsa_agent_t agent, QueueDescriptor* descriptors, std::uint32_t count) {
  return TheLayer().CreateQueues(agent, descriptors, count);
}
// Whoever was loaded after us makes the program's queues, as profilers do.
hsa_status_t CreateIntercepted(hsa_agent_t agent, std::uint32_t size, hsa_queue_type32_t type,
                               void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                               std::uint32_t private_segment_size, std::uint32_t group_segment_size,
                               hsa_queue_t** queue) {
  return TheLayer().CreateIntercepted(
      {agent, size, type, callback, data, private_segment_size, group_segment_size, queue});
}
hsa_status_t RegisterInterceptor(hsa_queue_t* queue, hsa_amd_queue_intercept_handler handler,
                                 void* data) {
  return TheLayer().RegisterInterceptor(queue, handler, data);
}
hsa_status_t AcquireCounted(hsa_agent_t agent, hsa_queue_type_t type,
                            hsa_amd_queue_priority_t priority,
                            void (*callback)(hsa_status_t, hsa_queue_t*, void*), void* data,
                            std::uint64_t flags, hsa_queue_t** queue) {
  return TheLayer().AcquireCounted(agent, type, priority, callback, data, flags, queue);
}
hsa_status_t SetQueuePriority(hsa_queue_t* queue, hsa_amd_queue_priority_t priority) {
  return TheLayer().SetQueuePriority(queue, priority);
}
hsa_status_t SetCuMask(const hsa_queue_t* queue, std::uint32_t bits, const std::uint32_t* mask) {
  return TheLayer().SetCuMask(queue, bits, mask);
}

// ---------------------------------------------------------------------------------- write index
using RealLoad = decltype(RealApi::load_write_index_relaxed);
using RealStore = decltype(RealApi::store_write_index_relaxed);
using RealCas = decltype(RealApi::cas_write_index_relaxed);
using RealAdd = decltype(RealApi::add_write_index_relaxed);

template <std::memory_order order, RealLoad RealApi::*real>
std::uint64_t LoadWriteIndex(const hsa_queue_t* queue) {
  const ManagedQueue* managed = Find(queue);
  if (managed == nullptr) return (Real().*real)(queue);
  return managed->reserved_index.load(order);
}

template <std::memory_order order, RealStore RealApi::*real>
void StoreWriteIndex(const hsa_queue_t* queue, std::uint64_t value) {
  ManagedQueue* managed = Find(queue);
  if (managed == nullptr) return (Real().*real)(queue, value);
  managed->reserved_index.store(value, order);
}

template <std::memory_order order, RealCas RealApi::*real>
std::uint64_t CasWriteIndex(const hsa_queue_t* queue, std::uint64_t expected, std::uint64_t value) {
  ManagedQueue* managed = Find(queue);
  if (managed == nullptr) return (Real().*real)(queue, expected, value);
  constexpr auto kFailure = order == kAcqRel ? kAcquire : order == kRelease ? kRelaxed : order;
  managed->reserved_index.compare_exchange_strong(expected, value, order, kFailure);
  return expected;
}

template <std::memory_order order, RealAdd RealApi::*real>
std::uint64_t AddWriteIndex(const hsa_queue_t* queue, std::uint64_t value) {
  ManagedQueue* managed = Find(queue);
  if (managed == nullptr) return (Real().*real)(queue, value);
  return managed->reserved_index.fetch_add(value, order);
}

// ---------------------------------------------------------------------------------- read index
// The real one: what the packet processor has taken. A producer that waits here for room in an
// armed queue's ring lends the gate its thread.
template <RealLoad RealApi::*real>
std::uint64_t LoadReadIndex(const hsa_queue_t* queue) {
  ManagedQueue* managed = Find(queue);
  if (managed != nullptr) {
    const QueueSlot* slot = managed->slot.load(kAcquire);
    const bool intercepted = managed->intercept != nullptr;
    if (intercepted || (slot->mode.load(kRelaxed) & kModeArmed) != 0) [[unlikely]] {
      GateLook ignored;
      if (TheLayer().gate()->HasBacklog(*managed)) TheLayer().gate()->Look(managed, &ignored);
    }
    // The proxy's read index says what was passed on, not what was taken.
    if (intercepted && managed->foreign.load(kRelaxed) == 0)
      return TheLayer().gate()->Taken(*managed);
  }
  return (Real().*real)(queue);
}

// ---------------------------------------------------------------------------------- doorbell
using RealSignalStore = decltype(RealApi::signal_store_relaxed);

template <RealSignalStore RealApi::*real>
void StoreSignal(hsa_signal_t signal, hsa_signal_value_t value) {
  ManagedQueue* managed = TheLayer().registry()->Find(signal);
  if (managed == nullptr) return (Real().*real)(signal, value);
  if (TheLayer().gate()->Doorbell(managed, static_cast<std::uint64_t>(value) + 1)) {
    TheLayer().pump()->WakeFor(*managed);
  }
}

template <typename Function>
void Patch(Function* slot, Function* saved, Function mine) {
  *saved = *slot;
  *slot = mine;
}

void InstallIndexHooks(CoreApiTable* t, RealApi* r) {
  Patch(&t->hsa_queue_load_write_index_scacquire_fn, &r->load_write_index_scacquire,
        &LoadWriteIndex<kAcquire, &RealApi::load_write_index_scacquire>);
  Patch(&t->hsa_queue_load_write_index_relaxed_fn, &r->load_write_index_relaxed,
        &LoadWriteIndex<kRelaxed, &RealApi::load_write_index_relaxed>);
  Patch(&t->hsa_queue_store_write_index_relaxed_fn, &r->store_write_index_relaxed,
        &StoreWriteIndex<kRelaxed, &RealApi::store_write_index_relaxed>);
  Patch(&t->hsa_queue_store_write_index_screlease_fn, &r->store_write_index_screlease,
        &StoreWriteIndex<kRelease, &RealApi::store_write_index_screlease>);
  Patch(&t->hsa_queue_cas_write_index_scacq_screl_fn, &r->cas_write_index_scacq_screl,
        &CasWriteIndex<kAcqRel, &RealApi::cas_write_index_scacq_screl>);
  Patch(&t->hsa_queue_cas_write_index_scacquire_fn, &r->cas_write_index_scacquire,
        &CasWriteIndex<kAcquire, &RealApi::cas_write_index_scacquire>);
  Patch(&t->hsa_queue_cas_write_index_relaxed_fn, &r->cas_write_index_relaxed,
        &CasWriteIndex<kRelaxed, &RealApi::cas_write_index_relaxed>);
  Patch(&t->hsa_queue_cas_write_index_screlease_fn, &r->cas_write_index_screlease,
        &CasWriteIndex<kRelease, &RealApi::cas_write_index_screlease>);
  Patch(&t->hsa_queue_add_write_index_scacq_screl_fn, &r->add_write_index_scacq_screl,
        &AddWriteIndex<kAcqRel, &RealApi::add_write_index_scacq_screl>);
  Patch(&t->hsa_queue_add_write_index_scacquire_fn, &r->add_write_index_scacquire,
        &AddWriteIndex<kAcquire, &RealApi::add_write_index_scacquire>);
  Patch(&t->hsa_queue_add_write_index_relaxed_fn, &r->add_write_index_relaxed,
        &AddWriteIndex<kRelaxed, &RealApi::add_write_index_relaxed>);
  Patch(&t->hsa_queue_add_write_index_screlease_fn, &r->add_write_index_screlease,
        &AddWriteIndex<kRelease, &RealApi::add_write_index_screlease>);
  Patch(&t->hsa_queue_load_read_index_scacquire_fn, &r->load_read_index_scacquire,
        &LoadReadIndex<&RealApi::load_read_index_scacquire>);
  Patch(&t->hsa_queue_load_read_index_relaxed_fn, &r->load_read_index_relaxed,
        &LoadReadIndex<&RealApi::load_read_index_relaxed>);
}

void InstallSignalHooks(CoreApiTable* t, RealApi* r) {
  Patch(&t->hsa_signal_store_relaxed_fn, &r->signal_store_relaxed,
        &StoreSignal<&RealApi::signal_store_relaxed>);
  Patch(&t->hsa_signal_store_screlease_fn, &r->signal_store_screlease,
        &StoreSignal<&RealApi::signal_store_screlease>);
  Patch(&t->hsa_signal_silent_store_relaxed_fn, &r->signal_silent_store_relaxed,
        &StoreSignal<&RealApi::signal_silent_store_relaxed>);
  Patch(&t->hsa_signal_silent_store_screlease_fn, &r->signal_silent_store_screlease,
        &StoreSignal<&RealApi::signal_silent_store_screlease>);
}

// By offset: this table was rearranged between releases, and only its size tells which it is.
template <typename Function>
Function* SlotAt(AmdExtTable* table, std::uint32_t offset) {
  return reinterpret_cast<Function*>(reinterpret_cast<unsigned char*>(table) + offset);
}
template <typename Function>
void PatchAt(AmdExtTable* table, std::uint32_t offset, Function* saved, Function mine) {
  if (offset != 0) Patch(SlotAt<Function>(table, offset), saved, mine);
}

void InstallExtHooks(AmdExtTable* t, RealApi* r) {
  if (t == nullptr) return;
  const ExtTable at = ExtTableOf(t->version.major_id, t->version.minor_id);
  if (!at.known) {
    Log(LogLevel::kError,
        "HSA extension table version %u with %u bytes is unknown (known: 1..%u, 400 bytes or "
        "more): queues are held, but priorities and masks of the program are not followed; a newer "
        "xsched-hsa may know it",
        t->version.major_id, t->version.minor_id, kExtMajorMax);
    return;
  }
  PatchAt(t, at.intercept_create, &r->queue_intercept_create, &CreateIntercepted);
  PatchAt(t, at.intercept_register, &r->queue_intercept_register, &RegisterInterceptor);
  PatchAt(t, at.cu_set_mask, &r->queue_cu_set_mask, &SetCuMask);
  PatchAt(t, at.set_priority, &r->queue_set_priority, &SetQueuePriority);
  PatchAt(t, at.queue_create, &r->amd_queue_create, &CreateQueues);
  PatchAt(t, at.counted_acquire, &r->counted_queue_acquire, &AcquireCounted);
}

}  // namespace

void InstallHooks(HsaApiTable* root, RealApi* real) {
  CoreApiTable* table = root->core_;
  InstallExtHooks(root->amd_ext_, real);
  real->agent_get_info = table->hsa_agent_get_info_fn;
  real->signal_create = table->hsa_signal_create_fn;
  real->signal_destroy = table->hsa_signal_destroy_fn;
  real->signal_load_scacquire = table->hsa_signal_load_scacquire_fn;
  InstallIndexHooks(table, real);
  InstallSignalHooks(table, real);
  Patch(&table->hsa_queue_create_fn, &real->queue_create, &CreateQueue);
  Patch(&table->hsa_queue_destroy_fn, &real->queue_destroy, &DestroyQueue);
  Patch(&table->hsa_queue_inactivate_fn, &real->queue_inactivate, &InactivateQueue);
}

}  // namespace xsched_hsa
