#include "reaction_roles.h"

#include <cstdio>
#include <cstdlib>

#include "primitives.h"
#include "urgency.h"

namespace xsched_hsa::bench {

Program::Program(const std::string& socket, int priority) {
  std::string refusal;
  client_ = testing::LayerClient::Join(socket, testing::MakeHello(priority), &refusal);
  if (client_ == nullptr) {
    std::fprintf(stderr, "reaction-bench: the controller at %s: %s\n", socket.c_str(),
                 refusal.c_str());
    std::_Exit(1);
  }
  testing::FakeLayer& layer = client_->layer();
  slot_ = &layer.Slot(0);
  queue_ = registry_.Take([](std::uint32_t) { return true; });
  ring_.LendTo(queue_);
  queue_->gpu_key = testing::kGpuA;
  queue_->requested_priority = priority;
  queue_->real_index = ring_.real_index();
  queue_->slot = slot_;
  JoinUrgency(queue_, layer.user(), *layer.process());
  registry_.Insert(queue_);
  layer.MakeQueue(0, 1, priority);
  queue_->live = 1;
  pump_.SetSession(layer.process(), OwnDescriptor(client_->event_fd()));
  pump_.Start();
  pump_.TellController();
}

void Program::Write() {
  const std::uint64_t index = queue_->reserved_index.fetch_add(1);
  ring_.Write(index, 0x4000);
  submitted_ = index + 1;
}

bool Program::Ring(std::int64_t* decided_ns) {
  const bool wake = gate_.Doorbell(queue_, submitted_);
  if (wake && decided_ns != nullptr) *decided_ns = StampNs();
  if (wake) pump_.WakeFor(*queue_);
  return !HasBacklog();
}

void Program::TakeAll() {
  for (std::uint64_t tag; ring_.Take(&tag);) {
  }
}

bool Program::WaitForMode(std::uint32_t mode) {
  return client_->SleepUntil([&] { return slot_->mode.load() == mode; });
}

}  // namespace xsched_hsa::bench
