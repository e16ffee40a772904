#include "kfd_driver.h"

#include <cerrno>
#include <span>

namespace ablation {
namespace {

int ErrnoOf(virtual_gpu::Status status) {
  switch (status) {
    case virtual_gpu::Status::kOk:
      return 0;
    case virtual_gpu::Status::kUnknownQueue:
      return EFAULT;
    case virtual_gpu::Status::kPreemptTimeout:
      return ETIME;
    default:
      return EINVAL;
  }
}

}  // namespace

virtual_gpu::QueueId DeviceDriver::Create(virtual_gpu::PacketSource* source, std::uint64_t process,
                                          std::uint32_t priority) {
  virtual_gpu::QueueId id = 0;
  TimeNs returns_at = 0;
  const virtual_gpu::QueueConfig config{process, priority, true};
  world_->device().CreateQueue(world_->now(), config, source, &id, &returns_at);
  configs_[id] = config;
  return id;
}

bool DeviceDriver::Sleep(Fiber* caller, TimeNs until) {
  world_->At(until, [caller] { caller->Resume(); });
  return caller->Pause();
}

int DeviceDriver::Call(Fiber* caller, const Change& change) {
  while (world_->now() < busy_until_) {
    if (!Sleep(caller, busy_until_)) return ECANCELED;
  }
  ++calls_;
  TimeNs returns_at = world_->now();
  const int error = ErrnoOf(change(world_->now(), &returns_at));
  busy_until_ = returns_at;
  if (returns_at > world_->now() && !Sleep(caller, returns_at)) return ECANCELED;
  return error;
}

int ProcessKfd::Update(const xsched_hsa::KfdQueue& queue, std::uint32_t percentage) {
  return driver_->Call(caller_, [&](TimeNs now, TimeNs* returns_at) {
    virtual_gpu::QueueConfig& config = driver_->config(queue.id);
    config.priority = queue.priority;
    config.active = percentage > 0;
    return driver_->world()->device().UpdateQueue(now, queue.id, config, returns_at);
  });
}

int ProcessKfd::SetMask(const xsched_hsa::KfdQueue& queue, const std::uint32_t* mask,
                        std::uint32_t bits) {
  return driver_->Call(caller_, [&](TimeNs now, TimeNs* returns_at) {
    return driver_->world()->device().SetCuMask(now, queue.id, std::span(mask, bits / 32),
                                                returns_at);
  });
}

}  // namespace ablation
