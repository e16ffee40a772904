// gpu.h: one GPU of the device process: its device model, its memory and the thread that runs it.
//
// Why        Joins simulated time (../device) with the host: polls doorbells, advances the device
//            to now, sleeps until something may happen.
// Threads    every public method takes the GPU's lock; Next... callbacks of the queues run under
//            it. Lock order: GPU, then a process's events or memory.
// Ownership  queues are borrowed from CreateQueue until DestroyQueue or DropProcess returns.
// Units      TimeNs is simulated nanoseconds; lag is in host nanoseconds.
// Errors     errno values.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "../device/device.h"
#include "arena.h"
#include "compute_queue.h"
#include "faults.h"
#include "gpu_model.h"
#include "lag_histogram.h"
#include "sdma_engine.h"
#include "sim_clock.h"

namespace virtual_gpu {

struct GpuStats {
  DeviceStats device;
  std::uint64_t queues = 0;
  std::uint64_t lag_events = 0;
  std::int64_t lag_p50_ns = 0, lag_p99_ns = 0, lag_max_ns = 0;
  std::uint64_t wakeups = 0;
  std::int64_t cpu_ns = 0;           // the device thread's processor time
  std::int64_t longest_step_ns = 0;  // of the model, host time
};

class Gpu {
 public:
  // Null, with a line on stderr, when memory or the device cannot be made.
  static std::unique_ptr<Gpu> Create(std::uint32_t index, const GpuModel& model, SimClock* clock);
  ~Gpu();

  // Each is one runlist cycle; *returns_at is when its ioctl returns.
  int CreateQueue(ComputeQueue* queue, const QueueConfig& config, TimeNs* returns_at);
  int DestroyQueue(ComputeQueue* queue, TimeNs* returns_at);
  // `ring_bytes` 0 leaves the ring as it is.
  int UpdateQueue(ComputeQueue* queue, const QueueConfig& config, std::uint64_t ring_base,
                  std::uint32_t ring_bytes, TimeNs* returns_at);
  int SetCuMask(ComputeQueue* queue, std::span<const std::uint32_t> mask, TimeNs* returns_at);
  // Several queues in one cycle; with none it is the cycle that an SDMA queue's change costs the
  // compute queues.
  struct Change {
    ComputeQueue* queue;
    QueueConfig config;
  };
  int UpdateQueues(std::span<const Change> changes, TimeNs* returns_at);
  int BareCycle(TimeNs* returns_at) { return UpdateQueues({}, returns_at); }
  void DropProcess(std::uint64_t process);

  // Where the queue's workgroups are now. Both lay a dispatch in bulk out (device.h).
  std::vector<CuLocation> ResidentCus(const ComputeQueue& queue);
  std::uint64_t ResidentWaves(const ComputeQueue& queue);
  // What may go wrong; `on_hang` hears, under the GPU's lock, when a preemption timed out.
  using OnHang = std::function<void(std::uint32_t gpu_index, TimeNs noticed_at)>;
  void SetFaults(Faults* faults, OnHang on_hang);

  bool QueueStatsOf(const ComputeQueue& queue, QueueStats* stats) const;
  SavedState SavedIn(const ComputeQueue& queue, std::uint32_t xcc) const;
  GpuStats Stats() const;

  std::uint32_t index() const { return index_; }
  std::uint32_t gpu_id() const { return gpu_id_; }
  const GpuModel& model() const { return model_; }
  const SimClock& clock() const { return *clock_; }
  Arena* arena() { return arena_.get(); }
  SdmaEngine* sdma() { return &sdma_; }

  // VRAM in use, all processes; belongs to the server's thread.
  std::uint64_t vram_used = 0;

 private:
  struct Live {
    ComputeQueue* queue;
    QueueConfig config;
  };

  Gpu(std::uint32_t index, const GpuModel& model, SimClock* clock, std::unique_ptr<Arena> arena,
      std::unique_ptr<Device> device);
  Live* Find(const ComputeQueue* queue);
  // Under the lock: 0, or why a runlist change fails now.
  int Refused(TimeNs* returns_at);
  int Hang(TimeNs now, TimeNs* returns_at);
  int Outcome(Status status, TimeNs* returns_at);
  // Under the lock: brings the device to the present and returns it.
  TimeNs Advance();
  void AdvanceTo(TimeNs now);
  // One round of the thread.
  struct RoundResult {
    std::int64_t until_event_ns = INT64_MAX;  // host time to the next event
    bool busy = false;                        // some queue has packets
    bool kicked = false;                      // a doorbell or a barrier made progress
  };
  RoundResult Round();
  void Run();

  const std::uint32_t index_;
  const std::uint32_t gpu_id_;
  const GpuModel model_;
  SimClock* const clock_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<Device> device_;
  SdmaEngine sdma_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Live> live_;
  LagHistogram lag_;
  std::uint64_t wakeups_ = 0;
  std::int64_t cpu_ns_ = 0, longest_step_ns_ = 0;
  Faults* faults_ = nullptr;
  OnHang on_hang_;
  TimeNs reset_until_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace virtual_gpu
