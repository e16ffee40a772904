// kfd_debug_queues.cc: DBG_TRAP's SUSPEND_QUEUES and RESUME_QUEUES.
//
// One runlist cycle per GPU however many queues are named: suspend_queues and resume_queues in
// kfd_device_queue_manager.c. The ioctl returns how many it suspended or resumed.

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "kfd_debug_abi.h"
#include "kfd_driver.h"

namespace virtual_gpu {

// One call's work, GPU by GPU.
struct KfdDriver::QueueJob {
  std::shared_ptr<Process> target;
  bool suspend = false;
  bool all = false;                // RESUME without an array
  std::vector<std::uint32_t> ids;  // as given, and marked
  std::uint64_t clear = 0;         // exceptions
  TimeNs grace_ns = 0;
  std::int32_t total = 0;
  std::function<void(const QueueJob&)> done;

  bool Names(std::uint32_t id, std::size_t* at) const {
    const auto plain = [](std::uint32_t marked) {
      return marked & ~(kfd::kQueueInvalid | kfd::kQueueError);
    };
    const auto it =
        std::find_if(ids.begin(), ids.end(), [&](std::uint32_t one) { return plain(one) == id; });
    *at = static_cast<std::size_t>(it - ids.begin());
    return it != ids.end();
  }
};

namespace {

// Under the GPU's gate. False: the queue is refused (suspend_single_queue's -EBUSY).
bool Mark(KfdQueue* queue, bool suspend) {
  if (suspend && !queue->suspended &&
      ((queue->exceptions & kfd::ExceptionMask(kfd::kEcQueueNew)) != 0 || queue->being_destroyed)) {
    return false;
  }
  queue->suspended = suspend;
  return true;
}

}  // namespace

void KfdDriver::RunJobOn(Gpu* gpu, QueueJob* job, TimeNs* returns_at) {
  std::vector<KfdQueue*> marked;
  for (auto& [id, queue] : job->target->queues) {
    std::size_t at = 0;
    if (queue->gpu_index != gpu->index() || (!job->Names(id, &at) && !job->all)) continue;
    if (!Mark(queue.get(), job->suspend)) continue;
    if (!job->all) job->ids[at] &= ~kfd::kQueueInvalid;
    marked.push_back(queue.get());
  }
  if (marked.empty()) return;
  const int error = ApplyActivity(gpu, *job->target, marked, returns_at);
  if (error == 0) job->total += static_cast<std::int32_t>(marked.size());
  for (KfdQueue* queue : marked) {
    std::size_t at = 0;
    if (error != 0 && job->Names(queue->id, &at)) job->ids[at] |= kfd::kQueueError;
    if (error == 0) queue->exceptions &= ~job->clear;
    if (error == 0 && job->suspend) WriteSaveAreaHeader(gpu, job->target.get(), *queue);
  }
}

// copy_context_work_handler: a debugger finds the waves by the header of the save area. Of XCC 0's
// only: a runtime that takes the part for another has no areas for the others.
void KfdDriver::WriteSaveAreaHeader(Gpu* gpu, Process* process, const KfdQueue& queue) {
  if (queue.aql == nullptr || queue.save_area == 0) return;
  const WaveState state = WaveStateOf(*gpu, queue);
  const kfd::SaveAreaHeader header = {queue.control_stack_bytes - state.control_stack_bytes,
                                      state.control_stack_bytes, queue.control_stack_bytes,
                                      state.save_area_bytes};
  process->memory.WriteValue(queue.save_area, header);
}

// wake_up_all(&dqm->destroy_wait). A destroy may be carried out at once: not while looking around.
void KfdDriver::WakeDestroyers(Process* process) {
  std::vector<std::pair<std::uint32_t, Request>> ready;
  for (auto& [id, queue] : process->queues) {
    if (queue->suspended) continue;
    for (const Request& waiting : queue->waiting_destroys) ready.emplace_back(id, waiting);
    queue->waiting_destroys.clear();
  }
  for (const auto& [id, waiting] : ready) SubmitDestroy(waiting, id);
}

void KfdDriver::RunJob(std::shared_ptr<QueueJob> job, std::size_t gpu_index) {
  if (gpu_index == gpus_->size()) {
    WakeDestroyers(job->target.get());
    return job->done(*job);
  }
  Gpu* gpu = (*gpus_)[gpu_index].get();
  // The waves may end by themselves before they are saved.
  if (job->grace_ns > 0) {
    gates_[gpu_index]->Submit({[this, job] { return clock_->Now() + job->grace_ns; }, [] {}});
  }
  gates_[gpu_index]->Submit(
      {[this, gpu, job] {
         TimeNs returns_at = clock_->Now();
         if (!job->target->finished) RunJobOn(gpu, job.get(), &returns_at);
         return returns_at;
       },
       [this, job = std::move(job), gpu_index] { RunJob(job, gpu_index + 1); }});
}

void KfdDriver::DebugSuspendQueues(const Request& request, const std::shared_ptr<Process>& target) {
  const auto args = request.Arg<kfd::DebugSuspendArgs>();
  if (args.queue_array_ptr == 0) return request.Reply(0);
  auto job = std::make_shared<QueueJob>();
  job->target = target;
  job->suspend = true;
  job->clear = args.exception_mask;
  if (args.grace_period != kfd::kDefaultGracePeriod) {
    const double clock_ghz = (*gpus_)[0]->model().part.max_clock_mhz / 1000.0;
    job->grace_ns = static_cast<TimeNs>(1000.0 * std::max(1u, args.grace_period) / clock_ghz);
  }
  SubmitNamed(request, job);
}

void KfdDriver::DebugResumeQueues(const Request& request, const std::shared_ptr<Process>& target) {
  auto job = std::make_shared<QueueJob>();
  job->target = target;
  job->all = request.Arg<kfd::DebugResumeArgs>().queue_array_ptr == 0;
  SubmitNamed(request, job);
}

void KfdDriver::SubmitNamed(const Request& request, const std::shared_ptr<QueueJob>& job) {
  job->ids.resize(request.payload.size() / sizeof(std::uint32_t));
  if (!job->ids.empty()) {
    std::memcpy(job->ids.data(), request.payload.data(), job->ids.size() * sizeof(std::uint32_t));
  }
  for (std::uint32_t& id : job->ids) id |= kfd::kQueueInvalid;  // until it is found
  job->done = [request](const QueueJob& finished) {
    request.connection->Reply(-finished.total, request.arg, std::as_bytes(std::span(finished.ids)));
  };
  RunJob(job, 0);
}

void KfdDriver::ResumeAll(const std::shared_ptr<Process>& target, std::function<void()> done) {
  auto job = std::make_shared<QueueJob>();
  job->target = target;
  job->all = true;
  job->done = [done = std::move(done)](const QueueJob&) { done(); };
  RunJob(job, 0);
}

}  // namespace virtual_gpu
