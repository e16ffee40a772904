// kfd_debug_session.h: several queues off the hardware in one runlist cycle, by DBG_TRAP on oneself.
//
// Why        UPDATE_QUEUE costs everybody on the device a cycle for each queue; SUSPEND_QUEUES takes any
//            number in one. But it is the debugger's interface: the process becomes its own debugger, so
//            that rocgdb can't attach, and on gfx908 the device's only debug VMID is taken. Hence only
//            with XSCHED_HSA_DEBUG_TRAP=1, and never where a debugger is already there. Exceptions stay
//            with ROCr: none is asked for here.
// Threads    Begin: from OnLoad, before the program can have made a queue (an older ROCr leaves
//            RUNTIME_ENABLE to us, and the driver refuses it once there are queues). Suspend and Resume:
//            one at a time (the preemptor's mutex).
// Ownership  the driver ends the session, and resumes every queue, when the process ends. A fork child
//            has none.
// Errors     errno. After a failure the caller does without; it has to resume them all: some may be suspended.
// Source     amdkfd 6.12: kfd_chardev.c (kfd_ioctl_set_debug_trap, kfd_ioctl_runtime_enable),
//            kfd_device_queue_manager.c (suspend_queues, resume_queues).
// See        kfd_debug_session_test.cc, docs/decisions.md
#pragma once

#include <cstdint>

namespace xsched_hsa {

class KfdDebugSession {
 public:
  // `fd`: of /dev/kfd, borrowed until another one is named.
  int Begin(int fd);
  void Use(int fd) { fd_ = fd; }
  bool on() const { return on_; }
  // Of a failure: some may be suspended.
  int Suspend(const std::uint32_t* ids, std::uint32_t count);
  int Resume(const std::uint32_t* ids, std::uint32_t count);
  void AfterForkInChild() { on_ = false; }

 private:
  int Change(std::uint32_t op, const std::uint32_t* ids, std::uint32_t count);
  int AcceptNewQueues();

  int fd_ = -1;
  bool on_ = false;
};

// The process that traces this one, by /proc; 0: none.
std::int32_t TracerPid(const char* root);

}  // namespace xsched_hsa
