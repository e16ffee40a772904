#include "sim_layer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "hsa-intercept/clock.h"
#include "hsa-intercept/urgency.h"

namespace ablation {
namespace {

TimeNs SleepOf(std::uint64_t ns) {
  return ns >= static_cast<std::uint64_t>(kNever) ? kNever : static_cast<TimeNs>(ns);
}

}  // namespace

SimLayer::SimLayer(World* world, DeviceDriver* driver, int priority)
    : priority_(priority),
      page_(std::make_unique<xsched_hsa::ProcessPage>()),
      registry_(std::make_unique<xsched_hsa::QueueRegistry>()),
      times_(std::make_unique<xsched_hsa::KernelTimes>()),
      detached_slot_(std::make_unique<xsched_hsa::QueueSlot>()),
      kfd_(driver, &fiber_),
      gate_(Ring::Api(), times_.get()),
      pump_(registry_.get(), &gate_),
      preemptor_(registry_.get(), &gate_, &pump_, &kfd_),
      pump_task_(world, [this] { PumpRound(); }),
      preemptor_task_(world, [this] { fiber_.Resume(); }),
      event_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      fiber_([this] { PreemptorRound(); }) {}

SimLayer::~SimLayer() { close(event_); }

void SimLayer::Manage(Ring* ring, const virtual_gpu::DeviceParams& device, xsched_hsa::GpuKey gpu) {
  ring_ = ring;
  queue_ = registry_->Take([](std::uint32_t) { return true; });
  queue_->queue = ring->queue();
  queue_->doorbell = ring->queue()->doorbell_signal;
  queue_->ring = static_cast<unsigned char*>(ring->queue()->base_address);
  queue_->ring_packets = ring->size();
  queue_->requested_priority = priority_;
  queue_->gpu_key = gpu;
  queue_->slot.store(detached_slot_.get());
  xsched_hsa::KfdQueue kfd;
  kfd.id = ring->device_id();
  kfd.ring_base = reinterpret_cast<std::uint64_t>(queue_->ring);
  kfd.ring_bytes = static_cast<std::uint32_t>(ring->size() * sizeof(hsa_kernel_dispatch_packet_t));
  xsched_hsa::KfdNode node;
  node.gpu_id = 1;
  for (const std::uint32_t cus : device.cus_per_se) node.compute_units += device.xccs * cus;
  node.shader_arrays = device.xccs * device.ses_per_xcc;
  preemptor_.Adopt(queue_, kfd, node);
  registry_->Insert(queue_);
  queue_->live.store(1);
}

void SimLayer::AttachQueue() {
  xsched_hsa::QueueSlot* slot = &page_->queues[queue_->index];
  slot->serial = static_cast<std::uint32_t>(queue_->queue->id);
  slot->gpu_key = queue_->gpu_key;
  slot->ring_packets = static_cast<std::uint32_t>(queue_->ring_packets);
  slot->kfd_queue_id = queue_->restricted.kfd.id;
  slot->requested_priority.store(priority_);
  slot->hsa_queue_type = queue_->queue->type;
  slot->created_us = xsched_hsa::NowUs();
  slot->mechanisms_available.store(xsched_hsa::kMechanismsAll);
  xsched_hsa::JoinUrgency(queue_, user_page_, *page_);
  slot->state.store(xsched_hsa::kSlotLive);
  page_->changes.fetch_add(1);
  queue_->slot.store(slot);
}

void SimLayer::Attach(xsched_hsa::UserPage* user_page, std::function<void()> tell) {
  user_page_ = user_page;
  tell_ = std::move(tell);
  AttachQueue();
  pump_.SetOrdersListener(
      [](void* self) {
        static_cast<SimLayer*>(self)->preemptor_.Nudge();
        static_cast<SimLayer*>(self)->preemptor_task_.Wake();
      },
      this);
  pump_.SetSession(page_.get(), xsched_hsa::OwnDescriptor(event_));
  preemptor_.SetSession(page_.get(), user_page);
  wake_seen_ = page_->wake.load();
  bell_seen_ = user_page->bell.load();
  pump_task_.Wake();
  preemptor_task_.Wake();
  tell_();
}

void SimLayer::Doorbell(std::uint64_t end) {
  if (gate_.Doorbell(queue_, end)) pump_.Wake(true);
}

std::uint64_t SimLayer::LoadReadIndex() {
  const bool armed = (queue_->slot.load()->mode.load() & xsched_hsa::kModeArmed) != 0;
  xsched_hsa::GateLook ignored;
  if (armed && gate_.HasBacklog(*queue_)) gate_.Look(queue_, &ignored);
  return ring_->read_index();
}

// A preemptor with nothing to preempt hears the bell here, too; its look then finds nothing.
void SimLayer::Look() {
  if (const std::uint32_t wake = page_->wake.load(); wake != wake_seen_) {
    wake_seen_ = wake;
    pump_task_.Wake();
  }
  if (const std::uint32_t bell = user_page_->bell.load(); bell != bell_seen_) {
    bell_seen_ = bell;
    preemptor_task_.Wake();
  }
}

bool SimLayer::HasEvent() const {
  std::uint64_t count = 0;
  return read(event_, &count, sizeof(count)) == sizeof(count);
}

void SimLayer::PumpRound() {
  const TimeNs sleep_ns = SleepOf(pump_.Round());
  if (HasEvent()) tell_();
  pump_task_.Finished(sleep_ns);
}

void SimLayer::PreemptorRound() { preemptor_task_.Finished(SleepOf(preemptor_.Round())); }

}  // namespace ablation
