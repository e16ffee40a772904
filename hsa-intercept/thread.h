// thread.h: starts a detached thread that stays out of the program's way.
//
// Priority   it runs for microseconds at a time, and somebody's request waits for it: short slices (Linux
//            6.12 and later), and a better nice value where the program may have one.
//
// Threads    any may call. The new thread has all signals blocked (they are for the program's own
//            threads) and a small stack.
// Errors     false if the system has no thread left.
#pragma once

namespace xsched_hsa {
bool StartDetachedThread(void* (*main)(void*), void* argument);
}  // namespace xsched_hsa
