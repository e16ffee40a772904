// quiet-dispatch: dispatches from a thread in which every system call is caught, and says how many were.
//
// Why        "A dispatch makes no system call" is a promise that a clock can't check. seccomp catches the
//            thread's calls, of whatever library; SIGSYS counts them, and they return ENOSYS.
// Threads    the dispatching one is filtered for good, so the process ends from the main one, by _exit.
// Output     "ready", then after a line on standard input "dispatches N calls K last NR"; --one-call makes
//            one itself.
// Errors     one line on stderr, exit 1.
#include <hsa/hsa.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <thread>

#include "programs/hsa_program.h"

namespace {

using namespace hsa_program;

constexpr std::uint32_t kRing = 1024;
constexpr std::uint64_t kBurst = 500, kBursts = 20;

std::atomic<int> g_calls{0}, g_last{-1}, g_over{0};

void Fail(const char* what) {
  std::fprintf(stderr, "quiet-dispatch: %s failed\n", what);
  std::_Exit(1);
}
void OnCall(int, siginfo_t* info, void*) {
  g_calls.fetch_add(1);
  g_last.store(info->si_syscall);
}

// Of this thread only. The handler returns by a call of its own, which stays allowed.
void CatchCalls() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(rules)), rules};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail("PR_SET_NO_NEW_PRIVS");
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) Fail("PR_SET_SECCOMP");
}

void DispatchAll(hsa_queue_t* queue, hsa_signal_t done, bool one_call) {
  CatchCalls();
  for (std::uint64_t burst = 0; burst < kBursts; ++burst) {
    hsa_signal_store_relaxed(done, 1);
    for (std::uint64_t i = 0; i < kBurst; ++i)
      SubmitBarrier(queue, {i + 1 == kBurst ? done.handle : 0});
    while (hsa_signal_load_scacquire(done) > 0) {
    }
  }
  if (one_call) syscall(SYS_getppid);
  g_over.store(1);
  while (true) {
  }  // can't end without a call
}

}  // namespace

int main(int argc, char** argv) {
  const bool one_call = argc > 1 && std::strcmp(argv[1], "--one-call") == 0;
  Check(hsa_init(), "hsa_init");
  hsa_queue_t* queue = MakeQueue(FindGpu(), kRing);
  const hsa_signal_t done = MakeSignal(0);
  struct sigaction action = {};
  action.sa_sigaction = OnCall;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGSYS, &action, nullptr) != 0) Fail("sigaction");
  Say("ready");
  if (!Pause()) return 1;
  std::thread(DispatchAll, queue, done, one_call).detach();
  while (g_over.load() == 0) usleep(1000);
  std::printf("dispatches %lu calls %d last %d\n", static_cast<unsigned long>(kBurst * kBursts),
              g_calls.load(), g_last.load());
  std::fflush(stdout);
  std::_Exit(0);
}
