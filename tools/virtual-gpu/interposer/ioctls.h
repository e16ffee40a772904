// ioctls.h: turns ioctls on the virtual nodes into requests to the device process.
//
// Why        An ioctl's struct may hold pointers; what they lead to travels as the message's
//            payload. Dispatch is on the ioctl number alone, as in the kernel: struct sizes differ
//            between headers (CREATE_QUEUE grew), so the size is the caller's own (_IOC_SIZE).
// Threads    any.
// Errors     like ioctl(): 0, or -1 with errno.
#pragma once

namespace virtual_gpu::interposer {

int KfdIoctl(unsigned long request, void* arg);
int DrmIoctl(unsigned gpu, unsigned long request, void* arg);

}  // namespace virtual_gpu::interposer
