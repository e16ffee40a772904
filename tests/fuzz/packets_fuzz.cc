// AQL and PM4 packets as a program may write them: decoded, refused or a dead queue, and nothing is
// touched outside the program's memory.
#include <cstdlib>
#include <memory>

#include "aql_queue.h"
#include "fuzz_target.h"
#include "pm4_queue.h"

using namespace virtual_gpu;

namespace {

constexpr pid_t kNoProcess = 0x3fffffff;  // memory of the program itself cannot be reached
constexpr std::uint64_t kVa = 0x100000, kBytes = 0x10000;
constexpr std::uint64_t kRing = kVa, kIndexes = kVa + 0x2000, kData = kVa + 0x3000;

template <typename Queue>
void Run(Queue* queue) {
  if (!queue->Valid()) return;
  queue->PollDoorbell();
  Packet packet;
  for (int i = 0; i < 200 && queue->Next(&packet); ++i) {
    if (!queue->DependenciesMet(packet)) break;
    queue->Consume(packet);
    queue->WorkgroupsDone(packet, 1, true);
    queue->Complete(packet, 1, 2);
    queue->RereadWriteIndex();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::unique_ptr<Arena> arena = Arena::Create("fuzz", 1 << 20);
  fuzz::Input input(data, size);
  AddressSpace memory(kNoProcess);
  EventTable events;
  SimClock clock(1);
  Allocation a;
  a.kind = Allocation::Kind::kGtt;
  a.handle = 1;
  a.va = kVa;
  a.bytes = kBytes;
  a.arena = arena.get();
  if (!arena->Allocate(a.bytes, kPageBytes, &a.offset) || !memory.Add(a)) std::abort();
  memory.SetMapped(1, 1, true);
  std::uint32_t event = 0;
  events.Create(0, false, 0, &event);
  const bool pm4 = input.Take<std::uint8_t>() % 2 == 0;
  const auto count = input.Take<std::uint8_t>();
  const auto ring = input.TakeBytes(0x1000), rest = input.TakeBytes(0x4000);
  memory.Write(kRing, ring.data(), ring.size());
  memory.Write(kData, rest.data(), rest.size());
  memory.WriteValue(kIndexes, std::uint64_t{count});
  std::uint64_t doorbell = count;
  if (pm4) {
    Pm4Queue queue({&memory, &events, &clock, 1, {}, false, "fuzz"},
                   {kRing, 0x1000, kIndexes, kIndexes + 8}, &doorbell);
    Run(&queue);
  } else {
    AqlQueue queue({&memory, &events, &clock, 1, {}, false, "fuzz", kData},
                   AqlRing{kRing, 0x1000, kIndexes, kIndexes + 8}, &doorbell);
    Run(&queue);
  }
  return 0;
}
