#include "gpu.h"

#include <errno.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "pacer.h"
#include "report.h"

namespace virtual_gpu {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;
constexpr std::uint64_t kArenaBytesMin = 256 * kGiB;
constexpr std::uint64_t kHostShareBytes = 64 * kGiB;  // GTT beside VRAM in one arena
constexpr std::uint32_t kFirstGpuId = 0x4d01;
// On a virtual machine the shortest sleep is 30 to 100 us. After a doorbell the next one, or the
// completion that the host waits for, is often nearer than that.
constexpr std::int64_t kSpinAfterKickNs = 60'000;
// The clock stands when this thread has not looked again for so long after it meant to: less, and a
// sleep's usual lateness would stop it; more, and what the host sees would be late by as much.
constexpr std::int64_t kLateMaxNs = 150'000;
constexpr TimeNs kResetNs = 500'000'000;  // [U] how long a GPU reset takes

int ErrnoOf(Status status) {
  switch (status) {
    case Status::kOk:
      return 0;
    case Status::kUnknownQueue:
      return EFAULT;
    case Status::kInvalidArgument:
      return EINVAL;
    case Status::kNoSpace:
      return ENOSPC;
    case Status::kPreemptTimeout:
      return ETIME;  // and more: Gpu::Outcome
  }
  return EINVAL;
}

}  // namespace

std::unique_ptr<Gpu> Gpu::Create(std::uint32_t index, const GpuModel& model, SimClock* clock) {
  const std::uint64_t bytes = std::max(kArenaBytesMin, model.part.vram_bytes + kHostShareBytes);
  auto arena = Arena::Create("virtual-gpu-memory", bytes);
  if (arena == nullptr) {
    Report("cannot make a sparse memory file of %llu GiB for GPU %u (errno %d)",
           static_cast<unsigned long long>(bytes / kGiB), index, errno);
    return nullptr;
  }
  DeviceParams params = model.part.params;
  params.seed += index;
  auto device = Device::Create(params);
  if (device == nullptr) {
    Report("the device model refuses the parameters of profile %s", model.profile.c_str());
    return nullptr;
  }
  return std::unique_ptr<Gpu>(new Gpu(index, model, clock, std::move(arena), std::move(device)));
}

Gpu::Gpu(std::uint32_t index, const GpuModel& model, SimClock* clock, std::unique_ptr<Arena> arena,
         std::unique_ptr<Device> device)
    : index_(index),
      gpu_id_(kFirstGpuId + index * 0x100),
      model_(model),
      clock_(clock),
      arena_(std::move(arena)),
      device_(std::move(device)),
      sdma_(clock) {
  thread_ = std::thread([this] { Run(); });
}

Gpu::~Gpu() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

Gpu::Live* Gpu::Find(const ComputeQueue* queue) {
  const auto it =
      std::find_if(live_.begin(), live_.end(), [&](const Live& l) { return l.queue == queue; });
  return it == live_.end() ? nullptr : &*it;
}

TimeNs Gpu::Advance() {
  const TimeNs due = device_->NextEvent();
  const TimeNs now = clock_->Now();
  if (due <= now) {
    lag_.Add(static_cast<std::int64_t>(static_cast<double>(now - due) * clock_->scale()));
    AdvanceTo(now);
  }
  return now;
}

void Gpu::AdvanceTo(TimeNs now) {
  const std::int64_t before = RawNs();
  device_->AdvanceTo(now);
  longest_step_ns_ = std::max(longest_step_ns_, RawNs() - before);
}

void Gpu::SetFaults(Faults* faults, OnHang on_hang) {
  std::lock_guard lock(mutex_);
  faults_ = faults;
  on_hang_ = std::move(on_hang);
}

int Gpu::Refused(TimeNs* returns_at) {
  const TimeNs now = Advance();
  *returns_at = now;
  if (now < reset_until_) return EIO;
  if (faults_ == nullptr) return 0;
  if (faults_->Take(FaultKind::kIo, index_)) return EIO;
  return faults_->Take(FaultKind::kPreemptTimeout, index_) ? Hang(now, returns_at) : 0;
}

// The queues did not leave in time: the driver waits for that, gives up and resets the device.
int Gpu::Hang(TimeNs now, TimeNs* returns_at) {
  *returns_at = now + model_.part.params.preempt_timeout_ns;
  reset_until_ = *returns_at + kResetNs;
  for (const Live& live : live_) device_->DropProcess(now, live.config.process);
  live_.clear();
  if (on_hang_) on_hang_(index_, *returns_at);
  return ETIME;
}

int Gpu::Outcome(Status status, TimeNs* returns_at) {
  return status == Status::kPreemptTimeout ? Hang(Advance(), returns_at) : ErrnoOf(status);
}

int Gpu::CreateQueue(ComputeQueue* queue, const QueueConfig& config, TimeNs* returns_at) {
  std::lock_guard lock(mutex_);
  if (const int error = Refused(returns_at); error != 0) return error;
  const Status status =
      device_->CreateQueue(Advance(), config, queue, &queue->device_id, returns_at);
  if (status == Status::kOk) live_.push_back({queue, config});
  changed_.notify_one();
  return Outcome(status, returns_at);
}

int Gpu::DestroyQueue(ComputeQueue* queue, TimeNs* returns_at) {
  std::lock_guard lock(mutex_);
  if (Find(queue) == nullptr) return 0;  // lost in a reset
  int error = Refused(returns_at);
  // KFD forgets the queue all the same. So must the device, and where it hangs it does by that.
  if (Find(queue) != nullptr) {
    TimeNs unused = 0;
    TimeNs* const at = error == 0 ? returns_at : &unused;
    const int outcome = Outcome(device_->DestroyQueue(Advance(), queue->device_id, at), at);
    if (error == 0) error = outcome;
  }
  std::erase_if(live_, [&](const Live& l) { return l.queue == queue; });
  return error;
}

int Gpu::UpdateQueue(ComputeQueue* queue, const QueueConfig& config, std::uint64_t ring_base,
                     std::uint32_t ring_bytes, TimeNs* returns_at) {
  std::lock_guard lock(mutex_);
  if (const int error = Refused(returns_at); error != 0) return error;
  Live* live = Find(queue);
  if (live == nullptr) return EIO;  // lost in a reset
  if (ring_bytes != 0 && !queue->SetRing(ring_base, ring_bytes)) return EFAULT;
  const Status status = device_->UpdateQueue(Advance(), queue->device_id, config, returns_at);
  if (status == Status::kOk) live->config = config;
  changed_.notify_one();
  return Outcome(status, returns_at);
}

int Gpu::SetCuMask(ComputeQueue* queue, std::span<const std::uint32_t> mask, TimeNs* returns_at) {
  std::lock_guard lock(mutex_);
  if (const int error = Refused(returns_at); error != 0) return error;
  if (Find(queue) == nullptr) return EIO;
  return Outcome(device_->SetCuMask(Advance(), queue->device_id, mask, returns_at), returns_at);
}

int Gpu::UpdateQueues(std::span<const Change> changes, TimeNs* returns_at) {
  std::lock_guard lock(mutex_);
  if (const int error = Refused(returns_at); error != 0) return error;
  std::vector<QueueChange> of_device;
  for (const Change& change : changes) {
    if (Find(change.queue) == nullptr) return EIO;
    of_device.push_back({change.queue->device_id, change.config});
  }
  const Status status = device_->UpdateQueues(Advance(), of_device, returns_at);
  if (status == Status::kOk) {
    for (const Change& change : changes) Find(change.queue)->config = change.config;
  }
  changed_.notify_one();
  return Outcome(status, returns_at);
}

void Gpu::DropProcess(std::uint64_t process) {
  std::lock_guard lock(mutex_);
  device_->DropProcess(Advance(), process);
  std::erase_if(live_, [&](const Live& l) { return l.config.process == process; });
}

std::vector<CuLocation> Gpu::ResidentCus(const ComputeQueue& queue) {
  std::lock_guard lock(mutex_);
  Advance();
  return device_->ResidentCus(queue.device_id);
}

std::uint64_t Gpu::ResidentWaves(const ComputeQueue& queue) {
  std::lock_guard lock(mutex_);
  Advance();
  return device_->ResidentWaves(queue.device_id);
}

bool Gpu::QueueStatsOf(const ComputeQueue& queue, QueueStats* stats) const {
  std::lock_guard lock(mutex_);
  return device_->GetQueueStats(queue.device_id, stats) == Status::kOk;
}

SavedState Gpu::SavedIn(const ComputeQueue& queue, std::uint32_t xcc) const {
  std::lock_guard lock(mutex_);
  return device_->SavedIn(queue.device_id, xcc);
}

GpuStats Gpu::Stats() const {
  std::lock_guard lock(mutex_);
  GpuStats stats;
  stats.device = device_->GetStats();
  stats.queues = live_.size();
  stats.lag_events = lag_.total();
  stats.lag_p50_ns = lag_.Quantile(0.5);
  stats.lag_p99_ns = lag_.Quantile(0.99);
  stats.lag_max_ns = lag_.max_ns();
  stats.wakeups = wakeups_;
  stats.cpu_ns = cpu_ns_;
  stats.longest_step_ns = longest_step_ns_;
  return stats;
}

Gpu::RoundResult Gpu::Round() {
  RoundResult result;
  // A system call, unlike the other clocks: not every time.
  if (++wakeups_ % 64 == 0) cpu_ns_ = ClockNs(CLOCK_THREAD_CPUTIME_ID);
  const TimeNs now = Advance();
  for (const Live& live : live_) {
    if (live.queue->PollDoorbell()) {
      device_->Kick(now, live.queue->device_id);
      result.kicked = true;
    }
    result.busy |= live.config.active && live.queue->HasWork();
  }
  if (device_->AnyBarrierBlocked()) result.kicked |= device_->PollBarriers(now);
  if (result.kicked) {
    result.busy = true;
    // What the kick made possible at once happens at once.
    AdvanceTo(now);
    Advance();
  }
  const TimeNs next = device_->NextEvent();
  if (next != kNever) result.until_event_ns = clock_->ToRaw(next) - RawNs();
  return result;
}

void Gpu::Run() {
  Pacer::PrepareThread();
  Pacer pacer(clock_->scale());
  std::int64_t spin_until_ns = 0;
  for (;;) {
    RoundResult round;
    {
      std::unique_lock lock(mutex_);
      const auto needed = [&] { return stop_ || !live_.empty() || device_->NextEvent() != kNever; };
      if (!needed()) {
        clock_->GrantForEver(index_);
        changed_.wait(lock, needed);
      }
      if (stop_) break;
      round = Round();
    }
    const std::int64_t until_event = round.until_event_ns;
    const std::int64_t now_ns = RawNs();
    if (round.kicked) spin_until_ns = now_ns + kSpinAfterKickNs;
    if (now_ns < spin_until_ns) {
      clock_->Grant(index_, kLateMaxNs);
      sched_yield();
      continue;
    }
    const std::int64_t pace = pacer.SleepNs(now_ns, round.busy || until_event != INT64_MAX);
    // Events come closer together than a sleep can be short; they are processed in batches, at
    // their exact simulated times, and only what the host sees of them is late by as much.
    const std::int64_t sleep = std::clamp(until_event, pacer.busy_sleep_ns() / 2, pace);
    clock_->Grant(index_, sleep + kLateMaxNs);
    Pacer::Sleep(sleep);
  }
  clock_->GrantForEver(index_);
}

}  // namespace virtual_gpu
