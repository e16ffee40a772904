// What a layer reads of pages that others write: words of its user's other programs, and orders. Whatever is there,
// masks leave each shader array something, nothing is read or written beside the pages, and once the leases are over
// every packet is published and nothing is suspended. Input: runs of {what, where, value}.
#include <cstdlib>
#include <map>
#include <memory>

#include "clock.h"
#include "fuzz_target.h"
#include "preemptor.h"
#include "pump.h"
#include "test_ring.h"
#include "urgency.h"

using namespace xsched_hsa;

namespace {

constexpr std::uint32_t kUnits = 80, kArrays = 16, kRing = 64;
std::uint64_t g_now = 0;

class Driver final : public KfdCalls {
 public:
  int Update(const KfdQueue& queue, std::uint32_t percentage) override {
    off_[queue.id] = percentage == 0;
    return Took();
  }
  int SetMask(const KfdQueue&, const std::uint32_t* mask, std::uint32_t bits) override {
    if (bits == 0 || bits % 32 != 0 || bits > 32 * kCuMaskWordsMax) std::abort();
    bool reached[kArrays] = {};
    for (std::uint32_t bit = 0; bit < bits && bit < kUnits; ++bit) {
      reached[bit % kArrays] |= (mask[bit / 32] >> (bit % 32) & 1) != 0;
    }
    for (const bool one : reached) {
      if (!one) std::abort();
    }
    return Took();
  }
  bool IsOff(std::uint32_t id) { return off_[id]; }
  int error = 0;

 private:
  int Took() {
    g_now += 100'000;
    return error;
  }
  std::map<std::uint32_t, bool> off_;
};

struct World {
  World() {
    for (int i = 0; i < 2; ++i) {
      ManagedQueue* queue = registry->Take([](std::uint32_t) { return true; });
      rings[i].LendTo(queue);
      QueueSlot* slot = &page->queues[queue->index];
      slot->priority = slot->kfd_priority = -1;
      slot->mode = i == 0 ? kModeArmed : kModeRaise;
      slot->window_us = 200;
      slot->linger_us = 250;
      slot->delay_budget_permille = 80;
      slot->mechanisms = slot->mechanisms_available = kMechanismsAll;
      queue->requested_priority = i == 0 ? kPriorityLow : kPriorityHigh;
      queue->slot = slot;
      JoinUrgency(queue, user.get(), *page);
      preemptor.Adopt(queue, {.id = 5u + queue->index, .ring_base = 1, .ring_bytes = kRing * 64},
                      {.gpu_id = 1, .compute_units = kUnits, .shader_arrays = kArrays});
      queue->live = 1;
      queues[i] = queue;
    }
    pump.SetSession(page.get(), {});
    preemptor.SetSession(page.get(), user.get());
  }
  void Submit(int at, std::uint64_t kernel) {
    ManagedQueue* queue = queues[at];
    if (queue->reserved_index - rings[at].taken() >= kRing) return;
    const std::uint64_t index = queue->reserved_index.fetch_add(1);
    rings[at].Write(index, kernel);
    gate.Doorbell(queue, index + 1);
  }
  void Run(int count) {
    std::uint64_t tag = 0;
    for (TestRing& ring : rings) {
      for (int i = 0; i < count && ring.Take(&tag); ++i) {
      }
    }
  }
  void Look() {
    pump.Round();
    preemptor.Round();
  }
  // Every word that is not our own layer's, and some that are.
  void Write(std::uint8_t what, std::uint16_t where, std::uint64_t value) {
    unsigned char* const pages[] = {reinterpret_cast<unsigned char*>(user.get()),
                                    reinterpret_cast<unsigned char*>(&page->queues[what / 64 % 2]),
                                    reinterpret_cast<unsigned char*>(page.get())};
    const std::size_t sizes[] = {sizeof(UserPage), sizeof(QueueSlot),
                                 offsetof(ProcessPage, decisions)};
    const std::size_t page_of = what % 3;
    std::memcpy(pages[page_of] + where % (sizes[page_of] / 8) * 8, &value, 8);
  }

  std::unique_ptr<UserPage> user = std::make_unique<UserPage>();
  std::unique_ptr<ProcessPage> page = std::make_unique<ProcessPage>();
  std::unique_ptr<QueueRegistry> registry = std::make_unique<QueueRegistry>();
  RealApi api = TestRing::Api();
  KernelTimes times{};
  WindowGate gate{api, &times};
  Pump pump{registry.get(), &gate};
  Driver driver;
  Preemptor preemptor{registry.get(), &gate, &pump, &driver};
  TestRing rings[2] = {TestRing(kRing), TestRing(kRing)};
  ManagedQueue* queues[2];
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  g_now = 1'000'000'000;
  g_now_ns = [] { return g_now; };
  const auto world = std::make_unique<World>();
  fuzz::Input input(data, size);
  for (int i = 0; i < 200 && !input.empty(); ++i) {
    const auto what = input.Take<std::uint8_t>();
    const auto where = input.Take<std::uint16_t>();
    const auto value = input.Take<std::uint64_t>();
    if (what % 8 < 3) world->Write(what / 8, where, value);
    if (what % 8 == 3) world->Submit(where % 2, value % 4);
    if (what % 8 == 4) world->Run(where % 8);
    if (what % 8 == 5) world->driver.error = where % 4 == 0 ? EIO : 0;
    if (what % 8 == 6) {  // a request comes, or is over
      GpuUrgency& gpu = world->user->gpus[0];
      gpu.word = UrgencyWord(EpochOf(gpu.word) + 1, where % 2 != 0 ? kPriorityHigh + 1 : 0);
      gpu.lease_until_us = NowUs() + kLeaseUs;
    }
    if (what % 8 == 7) g_now += value % 50'000'000;
    world->Look();
  }
  // Nobody writes any more, and what a controller would keep up ends.
  world->driver.error = 0;
  for (ManagedQueue* queue : world->queues) {
    queue->slot.load()->hold = kHoldNone;
    queue->slot.load()->mode = 0;
  }
  for (int i = 0; i < 40; ++i) {
    g_now += kLeaseUs * 1000;
    world->Look();
    world->Run(kRing);
  }
  for (int i = 0; i < 2; ++i) {
    const ManagedQueue& queue = *world->queues[i];
    if (world->driver.IsOff(5u + queue.index)) std::abort();  // suspended for ever
    if (queue.restricted.restriction != kUnrestricted) std::abort();
    if (world->rings[i].taken() != queue.reserved_index) std::abort();  // a packet is lost
  }
  return 0;
}
