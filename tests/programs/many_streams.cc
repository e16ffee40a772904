// many-streams N: an ordinary HSA program with N queues, each busy with long kernels from a thread of its
// own, until SIGTERM. Then each queue says whether every packet ran once and in order: exit 0 if all did.
#include <pthread.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "hsa_device.h"
#include "replay_clock.h"
#include "replay_plan.h"
#include "replay_queue.h"

namespace {

std::atomic<bool> g_stop = false;
std::atomic<int> g_failures = 0;

void Fail(const std::string& error) {
  std::fprintf(stderr, "many-streams: %s\n", error.c_str());
  ++g_failures;
}

// Eight kernels of about 20 ms that fill the device.
dual_model::ReplayPlan LongKernels() {
  dual_model::ReplayPlan plan;
  for (int i = 0; i < 8; ++i) {
    dual_model::ReplayKernel kernel;
    kernel.workgroups = 320;
    kernel.work_items = 256;
    kernel.workgroup_ns = 20'000'000;
    plan.kernels.push_back(kernel);
  }
  return plan;
}

void Stream(dual_model::HsaDevice* device, const dual_model::ReplayPlan* plan,
            const dual_model::ReplayClock* clock) {
  constexpr std::int64_t kTimeoutNs = 120'000'000'000;
  std::string error;
  const auto queue = dual_model::ReplayQueue::Create(device, *plan, *clock, 64, kTimeoutNs, &error);
  if (queue == nullptr) return Fail(error);
  while (!g_stop) {
    if (!queue->RunIteration(&error)) return Fail(error);
  }
  const dual_model::ReplayCheck check = queue->Check();
  if (!check.Passed()) Fail(check.Text());
}

}  // namespace

int main(int argc, char** argv) {
  const int streams = argc == 2 ? std::atoi(argv[1]) : 0;
  if (streams < 1 || streams > 64) {
    std::fprintf(stderr, "usage: many-streams N, 1 to 64 queues\n");
    return 2;
  }
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &terminate, nullptr);
  std::string error;
  dual_model::ReplayClock clock(1);
  std::unique_ptr<dual_model::HsaDevice> device;
  if (!dual_model::ReplayClock::FromEnvironment(&clock, &error) ||
      dual_model::HsaDevice::Open(0, &device, &error) != dual_model::HsaStatus::kOk ||
      device->LoadKernels(&error) != dual_model::HsaStatus::kOk) {
    Fail(error);
    return 1;
  }
  const dual_model::ReplayPlan plan = LongKernels();
  std::vector<std::thread> threads;
  for (int i = 0; i < streams; ++i) threads.emplace_back(Stream, device.get(), &plan, &clock);
  int signal = 0;
  sigwait(&terminate, &signal);
  g_stop = true;
  for (std::thread& thread : threads) thread.join();
  device.reset();
  return g_failures == 0 ? 0 : 1;
}
