// layer_session.cc: the thread that keeps the layer connected.
//
// It sleeps in poll() while attached. When the controller goes away, every gate opens, and it tries
// again every few seconds; a program that never made a queue has no such thread.
#include <sys/prctl.h>

#include <ctime>

#include "layer.h"
#include "log.h"
#include "thread.h"

namespace xsched_hsa {
namespace {

constexpr int kRetryFirstMs = 200;
constexpr int kRetryMaxMs = 5000;

void SleepMs(int ms) {
  const timespec time{ms / 1000, (ms % 1000) * 1'000'000L};
  nanosleep(&time, nullptr);
}

}  // namespace

void* Layer::SessionMain(void* self) {
  prctl(PR_SET_NAME, "xsched-session");
  static_cast<Layer*>(self)->RunSession();
  return nullptr;
}

void Layer::RunSession() {
  int retry_ms = kRetryFirstMs;
  while (!inert_.load(std::memory_order_acquire)) {
    SessionLink link;
    {
      MutexScope scope(&registration_mutex_);
      link = link_;
    }
    if (link.process_page != nullptr) {
      WaitForHangup(link);
      Log(LogLevel::kWarn,
          "the controller at %s is gone: all queues are released and pass freely; joining again "
          "when it is back",
          config_.socket_path);
      Detach();
      retry_ms = kRetryFirstMs;
    }
    SleepMs(retry_ms);
    retry_ms = retry_ms * 2 < kRetryMaxMs ? retry_ms * 2 : kRetryMaxMs;
    if (TryAgain()) retry_ms = kRetryFirstMs;
  }
  session_started_.store(false);
}

// The controller may take kAnswerTimeoutMs to answer, or to let it be: no lock is held meanwhile, since the program
// makes and destroys queues, and ends.
bool Layer::TryAgain() {
  Config config;
  {
    MutexScope scope(&registration_mutex_);
    if (link_.process_page != nullptr || inert_.load()) return false;
    FindSocketPath(config_.socket_path, sizeof(config_.socket_path));
    config = config_;
  }
  char why[256];
  const bool connected = Connect(config, version_, &joining_, why, sizeof(why));
  MutexScope scope(&registration_mutex_);
  if (connected && link_.process_page == nullptr && !inert_.load()) {
    AttachTo(joining_);
    joining_ = SessionLink{};
    return true;
  }
  if (!connected && joining_.refused && !told_refusal_) {
    // Once: a controller of another release stays so.
    Log(LogLevel::kWarn, "%s: passing through", why);
    told_refusal_ = true;
  }
  Disconnect(&joining_);
  return false;
}

// With registration_mutex_ held. Nothing may be armed without a pump, so no pump means no
// management.
bool Layer::StartThreads() {
  if (!pump_.started()) {
    pump_.SetOrdersListener([](void* self) { static_cast<Preemptor*>(self)->Nudge(); },
                            &preemptor_);
  }
  if (!pump_.Start()) return false;
  if (!preemptor_.Start()) {
    Log(LogLevel::kWarn,
        "no thread could be started for preemption: queues are only held, not suspended or "
        "squeezed; raise the limit (ulimit -u, pids.max of the container)");
  }
  if (session_started_.exchange(true)) return true;
  const bool started = StartDetachedThread(&Layer::SessionMain, this);
  if (!started) session_started_.store(false);
  return started;
}

}  // namespace xsched_hsa
