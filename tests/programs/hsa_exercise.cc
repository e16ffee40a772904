// hsa-exercise: an ordinary HSA program that a test drives, one behaviour a verb.
//
// Why        Cross-process tests need programs that submit, wait, fork, destroy and exit at a
//            chosen point. It knows nothing of xsched-hsa. Packets are barrier-AND packets with
//            completion signals, so it needs no kernel; `serial` proves their order.
// Output     "ready", "submitted", "completed N" … on standard output, one a line, flushed. A verb
//            that pauses waits for a line on standard input.
// Errors     one line on stderr, exit 1; no GPU agent: exit 77.
#include <hsa/amd_hsa_queue.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hsa_program.h"

namespace {

using namespace hsa_program;

// Submits `count` packets that decrement `done`.
void Submit(hsa_queue_t* queue, std::uint64_t count, hsa_signal_t done,
            hsa_signal_t dependency = {0}) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t index = Reserve(queue, 1);
    WriteBarrier(queue, index, done, dependency);
    RingDoorbell(queue, index);
  }
}

// What is left of the signal after at most 30 s.
hsa_signal_value_t WaitZero(hsa_signal_t signal) {
  std::uint64_t frequency = 0;
  hsa_system_get_info(HSA_SYSTEM_INFO_TIMESTAMP_FREQUENCY, &frequency);
  return hsa_signal_wait_scacquire(signal, HSA_SIGNAL_CONDITION_LT, 1, 30 * frequency,
                                   HSA_WAIT_STATE_BLOCKED);
}

void WaitAndReport(hsa_signal_t done, std::uint64_t count) {
  const auto left = WaitZero(done);
  Say("completed " + std::to_string(static_cast<std::int64_t>(count) - left));
  if (left != 0) std::exit(1);
}

// N packets on one queue, all complete, each once.
void RunBarriers(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 256);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  Say("ready");
  Submit(queue, count, done);
  WaitAndReport(done, count);
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// Waits for a line, submits N, says "submitted", waits for the end.
void RunPaused(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 1024);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  Say("ready");
  Pause();
  Submit(queue, count, done);
  Say("submitted");
  WaitAndReport(done, count);
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// The queue stays busy until a line comes: its first packet waits for a signal of this program.
void RunBlocked(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 256);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  const hsa_signal_t latch = MakeSignal(1);
  Say("ready");
  Pause();
  Submit(queue, count, done, latch);
  Say("submitted");
  Pause();
  hsa_signal_store_screlease(latch, 0);
  WaitAndReport(done, count);
  Pause();  // stays, idle
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// The queue never runs dry until a line comes: it gets a packet every 10 ms, which the controller's
// linger has to outlast.
void RunBusy(hsa_agent_t gpu) {
  hsa_queue_t* queue = MakeQueue(gpu, 256);
  const hsa_signal_t done = MakeSignal(1 << 30);
  Say("ready");
  Pause();
  std::atomic<bool> over{false};
  std::uint64_t submitted = 1;
  Submit(queue, 1, done);
  std::thread feeder([&] {
    while (!over.load()) {
      usleep(10'000);
      Submit(queue, 1, done);
      ++submitted;
    }
  });
  Say("submitted");
  Pause();
  over.store(true);
  feeder.join();
  while (hsa_signal_load_scacquire(done) !=
         static_cast<hsa_signal_value_t>((1 << 30) - submitted)) {
    usleep(1000);
  }
  Say("completed 1");
  Pause();  // stays, idle
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// A packet that waits for `dependency` to be zero, by another kind of barrier than AND.
void SubmitOtherBarrier(hsa_queue_t* queue, const std::string& kind, hsa_signal_t done,
                        hsa_signal_t dependency) {
  const std::uint64_t index = Reserve(queue, 1);
  WriteBarrier(queue, index, done, dependency);
  auto* packet =
      static_cast<unsigned char*>(queue->base_address) + (index & (queue->size - 1)) * 64;
  std::uint16_t header;
  std::memcpy(&header, packet, sizeof(header));
  header = static_cast<std::uint16_t>(header & ~0xff);
  if (kind == "or") {
    // The second one is never fired: the first is enough.
    const hsa_signal_t never = MakeSignal(1);
    std::memcpy(packet + 16, &never, sizeof(never));
    header |= HSA_PACKET_TYPE_BARRIER_OR;
  } else {
    hsa_amd_barrier_value_packet_t value{};
    value.header.AmdFormat = HSA_AMD_PACKET_TYPE_BARRIER_VALUE;
    value.signal = dependency;
    value.mask = -1;
    value.cond = HSA_SIGNAL_CONDITION_LT;
    value.value = 1;
    value.completion_signal = done;
    std::memcpy(packet + 2, reinterpret_cast<unsigned char*>(&value) + 2, sizeof(value) - 2);
    header |= HSA_PACKET_TYPE_VENDOR_SPECIFIC;
  }
  __atomic_store_n(reinterpret_cast<std::uint16_t*>(packet), header, __ATOMIC_RELEASE);
  RingDoorbell(queue, index);
}

// Queue 0 waits for queue 1 by another kind of packet (`or`, `value`), or by a host thread that waits for
// queue 1 and then lets queue 0 go (`host`).
void RunDependsBy(hsa_agent_t gpu, std::uint64_t count, const std::string& kind) {
  hsa_queue_t* const waiting = MakeQueue(gpu, 1024);
  hsa_queue_t* const other = MakeQueue(gpu, 1024);
  const hsa_signal_t done = MakeSignal(1),
                     before = MakeSignal(static_cast<hsa_signal_value_t>(count));
  const hsa_signal_t latch = MakeSignal(1);
  Say("ready");
  Pause();
  if (kind == "host") {
    Submit(waiting, 1, done, latch);
  } else {
    SubmitOtherBarrier(waiting, kind, done, before);
  }
  Say("waiting");
  Pause();
  Submit(other, count, before);
  Say("submitted");
  if (kind == "host" && WaitZero(before) == 0) hsa_signal_store_screlease(latch, 0);
  WaitAndReport(done, 1);
  Check(hsa_queue_destroy(waiting), "hsa_queue_destroy");
  Check(hsa_queue_destroy(other), "hsa_queue_destroy");
}

// Queue 0 waits for queue 1, that one for queue 2, and so on; only the last has N packets that wait
// for nothing. At the first line all but the last submit, at the second the last.
void RunDepends(hsa_agent_t gpu, std::uint64_t count, std::uint64_t queues) {
  std::vector<hsa_queue_t*> chain;
  std::vector<hsa_signal_t> done;
  for (std::uint64_t i = 0; i < queues; ++i) {
    chain.push_back(MakeQueue(gpu, 1024));
    done.push_back(MakeSignal(i + 1 == queues ? static_cast<hsa_signal_value_t>(count) : 1));
  }
  Say("ready");
  Pause();
  for (std::uint64_t i = 0; i + 1 < queues; ++i) Submit(chain[i], 1, done[i], done[i + 1]);
  Say("waiting");
  Pause();
  Submit(chain.back(), count, done.back());
  Say("submitted");
  WaitAndReport(done[0], 1);
  for (hsa_queue_t* queue : chain) Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// At the first line the program sets its queue's priority, at the second a mask; then N packets.
void RunSets(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 1024);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  Say("ready");
  Pause();
  Check(hsa_amd_queue_set_priority(queue, HSA_AMD_QUEUE_PRIORITY_LOW),
        "hsa_amd_queue_set_priority");
  Say("priority set");
  Pause();
  std::uint32_t mask[3] = {0xffffffff, 0xffff, 0};
  Check(hsa_amd_queue_cu_set_mask(queue, 96, mask), "hsa_amd_queue_cu_set_mask");
  Say("mask set");
  Pause();
  Submit(queue, count, done);
  Say("submitted");
  WaitAndReport(done, count);
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// Submits N, says so, and at a line destroys the queue and ends (verb destroy) or just returns
// (exit).
void RunAbandon(hsa_agent_t gpu, std::uint64_t count, bool destroy) {
  hsa_queue_t* queue = MakeQueue(gpu, 1024);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  Say("ready");
  Pause();
  Submit(queue, count, done);
  Say("submitted");
  Pause();
  if (destroy) Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
  Say("left");
}

// T threads share one multi-producer queue.
void RunThreads(hsa_agent_t gpu, std::uint64_t threads, std::uint64_t each) {
  hsa_queue_t* queue = MakeQueue(gpu, 64);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(threads * each));
  Say("ready");
  std::vector<std::thread> workers;
  for (std::uint64_t t = 0; t < threads; ++t)
    workers.emplace_back([=] { Submit(queue, each, done); });
  for (std::thread& worker : workers) worker.join();
  WaitAndReport(done, threads * each);
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// Writes amd_queue_t itself, as programs that bypass the API do; the doorbell goes through the API.
void RunForeign(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 256);
  auto* raw = reinterpret_cast<amd_queue_t*>(queue);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(count));
  Say("ready");
  Pause();
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t index = __atomic_fetch_add(&raw->write_dispatch_id, 1, __ATOMIC_ACQ_REL);
    while (index - __atomic_load_n(&raw->read_dispatch_id, __ATOMIC_ACQUIRE) >= queue->size)
      sched_yield();
    WriteBarrier(queue, index, done, {0});
    hsa_signal_store_screlease(queue->doorbell_signal, static_cast<hsa_signal_value_t>(index));
  }
  WaitAndReport(done, count);
  Say("foreign done");
  Pause();
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// A child that was forked while queues exist does nothing with them and ends; the parent goes on.
void RunFork(hsa_agent_t gpu, std::uint64_t count) {
  hsa_queue_t* queue = MakeQueue(gpu, 256);
  const hsa_signal_t done = MakeSignal(static_cast<hsa_signal_value_t>(2 * count));
  Submit(queue, count, done);
  const pid_t child = fork();
  if (child == 0) std::exit(0);
  int status = 0;
  waitpid(child, &status, 0);
  Say(std::string("child ") + (WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "ok" : "failed"));
  Submit(queue, count, done);
  WaitAndReport(done, 2 * count);
  Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
}

// Queues come and go, with packets on each.
void RunChurn(hsa_agent_t gpu, std::uint64_t rounds) {
  std::uint64_t completed = 0;
  for (std::uint64_t i = 0; i < rounds; ++i) {
    hsa_queue_t* queue = MakeQueue(gpu, 64);
    const hsa_signal_t done = MakeSignal(10);
    Submit(queue, 10, done);
    if (WaitZero(done) == 0) completed += 10;
    Check(hsa_queue_destroy(queue), "hsa_queue_destroy");
    Check(hsa_signal_destroy(done), "hsa_signal_destroy");
  }
  Say("completed " + std::to_string(completed));
}

// hsa_shut_down and hsa_init again, as some frameworks do.
void RunReinit(std::uint64_t count) {
  Check(hsa_shut_down(), "hsa_shut_down");
  Check(hsa_init(), "hsa_init");
  RunBarriers(FindGpu(), count);
}

std::uint64_t Number(int argc, char** argv, int at, std::uint64_t otherwise) {
  return argc > at ? std::strtoull(argv[at], nullptr, 10) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  Check(hsa_init(), "hsa_init");
  const hsa_agent_t gpu = FindGpu();
  const std::uint64_t count = Number(argc, argv, 2, 10);
  if (verb == "barriers") {
    RunBarriers(gpu, count);
  } else if (verb == "paused") {
    RunPaused(gpu, count);
  } else if (verb == "blocked") {
    RunBlocked(gpu, count);
  } else if (verb == "busy") {
    RunBusy(gpu);
  } else if (verb == "depends-by" && argc > 3) {
    RunDependsBy(gpu, count, argv[3]);
  } else if (verb == "sets") {
    RunSets(gpu, count);
  } else if (verb == "depends") {
    RunDepends(gpu, count, Number(argc, argv, 3, 2));
  } else if (verb == "destroy" || verb == "exit") {
    RunAbandon(gpu, count, verb == "destroy");
    if (verb == "exit") return 0;  // no hsa_shut_down, as HIP programs
  } else if (verb == "threads") {
    RunThreads(gpu, count, Number(argc, argv, 3, 1000));
  } else if (verb == "foreign") {
    RunForeign(gpu, count);
  } else if (verb == "fork") {
    RunFork(gpu, count);
  } else if (verb == "churn") {
    RunChurn(gpu, count);
  } else if (verb == "reinit") {
    RunReinit(count);
  } else {
    std::fprintf(stderr, "hsa-exercise: unknown verb '%s'\n", verb.c_str());
    return 2;
  }
  Check(hsa_shut_down(), "hsa_shut_down");
  return 0;
}
