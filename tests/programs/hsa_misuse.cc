// hsa-misuse: an HSA program that does what a program should not, one misuse a verb.
//
// Why        An operator loads the layer into every program, also into these. Each verb is ordinary but
//            for one thing, so that a test can compare it with and without the layer.
// Output     "ready", "submitted", "completed N" and what the verb saw, one a line, flushed. Where the
//            verb pauses it waits for a line on standard input.
// Errors     one line on stderr, exit 1; no GPU agent: exit 77.
#include <fcntl.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "hsa_program.h"

namespace {

using namespace hsa_program;

// A queue and a signal that every packet on it decrements.
struct Work {
  hsa_queue_t* queue = nullptr;
  hsa_signal_t done{0};
};

constexpr hsa_signal_value_t kMany = 1 << 30;

Work MakeWork(std::uint32_t packets = 1024) {
  return {MakeQueue(FindGpu(), packets), MakeSignal(kMany)};
}

// Nothing here takes a lock or allocates: a signal handler calls it.
void SubmitOne(const Work& work) {
  const std::uint64_t index = Reserve(work.queue, 1);
  WriteBarrier(work.queue, index, work.done);
  RingDoorbell(work.queue, index);
}

void Submit(const Work& work, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) SubmitOne(work);
}

// Waits until exactly `count` have completed, 30 s at most.
void ExpectCompleted(const Work& work, std::uint64_t count) {
  const hsa_signal_value_t goal = kMany - static_cast<hsa_signal_value_t>(count);
  for (int i = 0; i < 30'000 && hsa_signal_load_scacquire(work.done) > goal; ++i) usleep(1000);
  Say("completed " + std::to_string(kMany - hsa_signal_load_scacquire(work.done)));
  if (hsa_signal_load_scacquire(work.done) != goal) std::exit(1);
}

void Finish(const Work& work, std::uint64_t count) {
  ExpectCompleted(work, count);
  Check(hsa_queue_destroy(work.queue), "hsa_queue_destroy");
}

// ------------------------------------------------------------------------------ fork and exec
Work SubmitBetweenLines(std::uint64_t count) {
  const Work work = MakeWork();
  Say("ready");
  Pause();
  Submit(work, count);
  Say("submitted");
  Pause();
  return work;
}

// Submits, and at a line becomes another program, whatever is held.
void Exec(std::uint64_t count, char** next) {
  SubmitBetweenLines(count);
  execvp(next[0], next);
  std::fprintf(stderr, "hsa-misuse: cannot run %s: %s\n", next[0], std::strerror(errno));
  std::exit(1);
}

// Submits; at a line a child is forked and becomes another program, and the parent goes on.
void ForkExec(std::uint64_t count, char** next) {
  const Work work = SubmitBetweenLines(count);
  const pid_t child = fork();
  if (child == 0) {
    execvp(next[0], next);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Say("child " + std::to_string(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)));
  Submit(work, count);
  Finish(work, 2 * count);
}

// ------------------------------------------------------------------------------ descriptors
std::string LinkOf(int fd) {
  char target[512];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = readlink(link.c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<std::size_t>(size)) : "";
}

// To the socket that the environment's `name` says.
bool LeadsTo(const char* name, int fd) {
  sockaddr_un peer{};
  socklen_t size = sizeof(peer);
  const char* path = std::getenv(name);
  return path != nullptr && getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
         std::strcmp(peer.sun_path, path) == 0;
}

// The layer's: its connection, the eventfd that came by it, and its own /dev/kfd, which the runtime had open before.
std::vector<int> DescriptorsOfTheLayer() {
  const int fresh = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  struct stat kfd {};
  fstat(fresh, &kfd);
  close(fresh);
  std::vector<int> found;
  bool has_event = false;
  for (int fd = 3; fd < 1024; ++fd) {
    struct stat about {};
    if (fstat(fd, &about) != 0) continue;
    const bool is_kfd = about.st_dev == kfd.st_dev && about.st_ino == kfd.st_ino;
    // Newer runtimes open more of these later.
    const bool is_event = !has_event && LinkOf(fd) == "anon_inode:[eventfd]";
    if (!LeadsTo("XSCHED_HSA_SOCKET", fd) && (found.empty() || !(is_event || is_kfd))) continue;
    found.push_back(fd);
    has_event = has_event || is_event;
  }
  return found;
}

// Where it leads, without numbers, which are another one's in each program.
std::string KindOf(int fd) {
  std::string kind = LinkOf(fd);
  kind.erase(std::remove_if(kind.begin(), kind.end(), [](char c) { return c >= '0' && c <= '9'; }),
             kind.end());
  return kind;
}

// What a child has that was forked beside a queue, and what of the layer's descriptors it kept.
void ForkDescriptors() {
  const Work work = MakeWork();
  Say("ready");
  Pause();
  const std::vector<int> of_layer = DescriptorsOfTheLayer();
  Say("the layer has " + std::to_string(of_layer.size()));
  const pid_t child = fork();
  if (child == 0) {
    for (const int fd : of_layer) {
      if (fcntl(fd, F_GETFD) >= 0) Say("child keeps " + KindOf(fd));
    }
    // A virtual GPU keeps as many connections as the runtime has threads that wait just then.
    for (int fd = 3; fd < 1024; ++fd) {
      if (fcntl(fd, F_GETFD) < 0 || LeadsTo("VIRTUAL_GPU_SOCKET", fd)) continue;
      Say("child has " + (LeadsTo("XSCHED_HSA_SOCKET", fd) ? "a controller" : KindOf(fd)));
    }
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  Finish(work, 0);
}

// As a daemon that closes what it does not know, and opens files of its own then.
void CloseDescriptors(std::uint64_t count) {
  const Work work = MakeWork();
  Say("ready");
  Pause();
  const int file = memfd_create("theirs", 0);
  const std::vector<int> taken = DescriptorsOfTheLayer();
  for (const int fd : taken) dup2(file, fd);
  Say("closed " + std::to_string(taken.size()));
  Pause();
  Submit(work, count);
  Finish(work, count);
  for (const int fd : taken) {
    if (LinkOf(fd) != LinkOf(file)) Say("lost a file of mine");
  }
  if (lseek(file, 0, SEEK_END) != 0) Say("written into a file of mine");
}

// ------------------------------------------------------------------------------ signal handlers
Work g_work;
std::atomic<std::uint64_t> g_from_handler{0};

// Only where there is room anyway: the interrupted thread may have reserved a slot that it can't
// write before we return, so waiting for room here would be for ever, layer or not.
void SubmitFromHandler(int) {
  const int saved_errno = errno;
  hsa_queue_t* queue = g_work.queue;
  const std::uint64_t used =
      hsa_queue_load_write_index_scacquire(queue) - hsa_queue_load_read_index_scacquire(queue);
  if (used < queue->size / 2) {
    SubmitOne(g_work);
    g_from_handler.fetch_add(1);
  }
  errno = saved_errno;
}

// One thread submits, another one interrupts it again and again, mostly inside of a doorbell.
void Interrupted(std::uint64_t count) {
  g_work = MakeWork(64);
  struct sigaction action {};
  action.sa_handler = SubmitFromHandler;
  sigaction(SIGUSR1, &action, nullptr);
  Say("ready");
  Pause();
  const pthread_t submitter = pthread_self();
  std::atomic<bool> over{false};
  std::thread interrupter([&] {
    while (!over.load()) {
      pthread_kill(submitter, SIGUSR1);
      usleep(5);
    }
  });
  Submit(g_work, count);
  over.store(true);
  interrupter.join();
  signal(SIGUSR1, SIG_IGN);
  Say("from the handler " + std::to_string(g_from_handler.load()));
  Finish(g_work, count + g_from_handler.load());
}

// As many programs do at SIGINT, whatever the interrupted thread was at.
void ExitFromHandler(int) { std::exit(7); }

// As HIP does when everything else is over.
void DestroyAtExit() {
  if (g_work.queue != nullptr) hsa_queue_destroy(g_work.queue);
}

// Nearly all of the time is spent in the runtime; the handler comes in the middle of a call, and the thread never
// comes back from it.
void ExitInHandler(const std::string& calls) {
  g_work = MakeWork();
  const Work& work = g_work;
  SubmitOne(work);
  Say("ready");
  Pause();
  signal(SIGALRM, ExitFromHandler);
  const itimerval soon{{0, 0}, {0, 50'000}};
  setitimer(ITIMER_REAL, &soon, nullptr);
  const auto mask = ~std::uint64_t{0};
  for (;;) {
    if (calls == "priority") {
      hsa_amd_queue_set_priority(work.queue, HSA_AMD_QUEUE_PRIORITY_NORMAL);
    } else if (calls == "mask") {
      hsa_amd_queue_cu_set_mask(work.queue, 64, reinterpret_cast<const std::uint32_t*>(&mask));
    } else if (calls == "doorbells") {
      RingDoorbell(work.queue, 0);
    } else {
      hsa_queue_destroy(MakeQueue(FindGpu(), 1024));
    }
  }
}

// ------------------------------------------------------------------------------ callbacks
std::atomic<int> g_shut_down_status{-1};

bool ShutDown(hsa_signal_value_t, void*) {
  g_shut_down_status.store(hsa_shut_down());
  return false;
}

// hsa_shut_down in a callback of the runtime, while packets are outstanding: the runtime stays, as
// another part of the program has called hsa_init, too.
void ShutDownInCallback(std::uint64_t count) {
  Check(hsa_init(), "hsa_init");
  const Work work = MakeWork();
  hsa_signal_t trigger;
  Check(hsa_signal_create(1, 0, nullptr, &trigger), "hsa_signal_create");
  Check(hsa_amd_signal_async_handler(trigger, HSA_SIGNAL_CONDITION_LT, 1, ShutDown, nullptr),
        "hsa_amd_signal_async_handler");
  Say("ready");
  Pause();
  Submit(work, count);
  Say("submitted");
  Pause();
  hsa_signal_store_screlease(trigger, 0);
  for (int i = 0; i < 30'000 && g_shut_down_status.load() < 0; ++i) usleep(1000);
  Say("callback " + std::to_string(g_shut_down_status.load()));
  Finish(work, count);
}

// The last hsa_shut_down there: what the runtime makes of that is its own affair, but it must be the
// same with the layer as without. Ends without another word to the runtime.
void LastShutDownInCallback(std::uint64_t count) {
  const Work work = MakeWork();
  hsa_signal_t trigger;
  Check(hsa_signal_create(1, 0, nullptr, &trigger), "hsa_signal_create");
  Check(hsa_amd_signal_async_handler(trigger, HSA_SIGNAL_CONDITION_LT, 1, ShutDown, nullptr),
        "hsa_amd_signal_async_handler");
  Say("ready");
  Submit(work, count);
  ExpectCompleted(work, count);
  hsa_signal_store_screlease(trigger, 0);
  for (int i = 0; i < 500 && g_shut_down_status.load() < 0; ++i) usleep(1000);
  Say("callback " + std::to_string(g_shut_down_status.load()));
  _exit(0);
}

// ------------------------------------------------------------------------------ errors
std::atomic<int> g_error{0};
std::atomic<hsa_queue_t*> g_failed{nullptr};

// A packet that no GPU takes, and `count` behind it that never run. The program is told, goes on with
// another queue, and gets rid of the first one at the end.
void BadPacket(std::uint64_t count) {
  Work work;
  const auto failed = [](hsa_status_t status, hsa_queue_t* queue, void* data) {
    g_failed.store(queue);
    static_cast<std::atomic<int>*>(data)->store(static_cast<int>(status));
  };
  Check(hsa_queue_create(FindGpu(), 1024, HSA_QUEUE_TYPE_MULTI, failed, &g_error, UINT32_MAX,
                         UINT32_MAX, &work.queue),
        "hsa_queue_create");
  work.done = MakeSignal(kMany);
  Say("ready");
  Pause();
  const std::uint64_t bad = Reserve(work.queue, 1);
  auto* packet = static_cast<hsa_agent_dispatch_packet_t*>(work.queue->base_address) + bad;
  std::memset(reinterpret_cast<char*>(packet) + 2, 0, sizeof(*packet) - 2);
  __atomic_store_n(
      &packet->header,
      static_cast<std::uint16_t>(HSA_PACKET_TYPE_AGENT_DISPATCH << HSA_PACKET_HEADER_TYPE),
      __ATOMIC_RELEASE);
  RingDoorbell(work.queue, bad);
  Submit(work, count);
  for (int i = 0; i < 30'000 && g_error.load() == 0; ++i) usleep(1000);
  char text[64];
  std::snprintf(text, sizeof(text), "error 0x%x of %s", g_error.load(),
                g_failed.load() == work.queue ? "its queue" : "another queue");
  Say(text);
  Pause();
  const Work next = MakeWork();
  Submit(next, count);
  Finish(next, count);
  Check(hsa_queue_destroy(work.queue), "hsa_queue_destroy");
}

// ------------------------------------------------------------------------------ descriptors
// Takes every descriptor there is, submits, makes a queue more, and gives them back at a line.
void Starved(std::uint64_t count) {
  const Work work = MakeWork();
  Say("ready");
  Pause();
  std::vector<int> taken;
  for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = open("/dev/null", O_RDONLY))
    taken.push_back(fd);
  Say(std::string("starved: ") + std::strerror(errno));
  Pause();
  Submit(work, count);
  ExpectCompleted(work, count);
  hsa_queue_t* more = nullptr;
  const hsa_status_t status = hsa_queue_create(FindGpu(), 256, HSA_QUEUE_TYPE_MULTI, nullptr,
                                               nullptr, UINT32_MAX, UINT32_MAX, &more);
  Say("another queue " + std::to_string(status));
  Pause();
  for (const int fd : taken) close(fd);
  if (status == HSA_STATUS_SUCCESS) Check(hsa_queue_destroy(more), "hsa_queue_destroy");
  Say("fed");
  Pause();
  Submit(work, count);
  Finish(work, 2 * count);
}

// ------------------------------------------------------------------------------ rights
// Gives up root after the runtime has its descriptors, as daemons do: before it has a queue (early),
// or after that.
void BecomeNobody() {
  constexpr uid_t kNobody = 65534;
  if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) {
    std::fprintf(stderr, "hsa-misuse: cannot become another user: %s\n", std::strerror(errno));
    std::exit(1);
  }
}

void DropRights(std::uint64_t count, bool early) {
  if (early) BecomeNobody();
  const Work work = MakeWork();
  const Work idle = MakeWork();  // what cannot be had is asked for again
  if (!early) BecomeNobody();
  Say("ready");
  Pause();
  Submit(work, count);
  Say("submitted");
  Pause();
  Finish(work, count);
  Finish(idle, 0);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string verb = argc > 1 ? argv[1] : "";
  const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 10;
  // Before the runtime, and so after what the layer does at the end.
  if (argc > 2 && std::strcmp(argv[2], "doorbells") == 0) std::atexit(DestroyAtExit);
  Check(hsa_init(), "hsa_init");
  if (verb == "exec" && argc > 3) {
    Exec(count, argv + 3);
  } else if (verb == "fork-exec" && argc > 3) {
    ForkExec(count, argv + 3);
  } else if (verb == "interrupted") {
    Interrupted(count);
  } else if (verb == "exit-in-handler" && argc > 2) {
    ExitInHandler(argv[2]);
  } else if (verb == "shut-down") {
    ShutDownInCallback(count);
  } else if (verb == "last-shut-down") {
    LastShutDownInCallback(count);
  } else if (verb == "bad-packet") {
    BadPacket(count);
  } else if (verb == "starved") {
    Starved(count);
  } else if (verb == "drop-rights" || verb == "drop-rights-early") {
    DropRights(count, verb == "drop-rights-early");
  } else if (verb == "close-descriptors") {
    CloseDescriptors(count);
  } else if (verb == "fork-descriptors") {
    ForkDescriptors();
  } else {
    std::fprintf(
        stderr,
        "hsa-misuse: use exec|fork-exec COUNT PROGRAM..., interrupted|shut-down|"
        "last-shut-down|bad-packet|starved|drop-rights|drop-rights-early|close-descriptors COUNT, "
        "fork-descriptors, exit-in-handler priority|mask|queues|doorbells\n");
    return 2;
  }
  Check(hsa_shut_down(), "hsa_shut_down");
  return 0;
}
