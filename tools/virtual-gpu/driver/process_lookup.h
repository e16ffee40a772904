// process_lookup.h: pids and threads across PID namespaces, as /proc tells them.
//
// Why        An ioctl names a process by its pid in the caller's namespace; the device process
//            knows everybody by the pid in its own.
// Threads    any; no state.
// Errors     0 or false when /proc does not say.
#pragma once

#include <sys/types.h>

namespace virtual_gpu {

// Do both live in one PID namespace?
bool SamePidNamespace(pid_t a, pid_t b);
// The pid of `pid` (ours) as its own namespace counts it.
pid_t PidInOwnNamespace(pid_t pid);
// The thread of process `pid` (ours) whose id in its own namespace is `tid`, as ours.
pid_t ThreadOf(pid_t pid, pid_t tid);
// Who traces `pid`: a thread id, ours; 0: nobody.
pid_t TracerOf(pid_t pid);
// Does `pid`, counted in the namespace of process `caller` (ours), exist and is it process `known`?
bool NamesProcess(pid_t pid, pid_t caller, pid_t known);

}  // namespace virtual_gpu
