// client.h: the process's side of the device process: connections, descriptors, classification.
//
// Why        The hooks ask three things: is this descriptor ours, what does the device process say
//            to this request, give me a descriptor for /dev/kfd or a render node.
// Threads    any thread; one short lock around the connection pool, never held across a wait.
// Ownership  all state is static and immortal (no destructors: exit() runs while threads wait).
//            A fork child starts from nothing: the parent's connections are closed in it, and the
//            parent's /dev/kfd answers EBADF, as KFD does.
// Errors     0 or a positive errno. Once the device process has gone, everything answers EIO, after
//            one line on stderr. A call that finds no connection, and can make none, waits two seconds for one of the
//            others', then says ENOMEM.
#pragma once

#include <cstdint>

#include "rpc_protocol.h"

namespace virtual_gpu::interposer {

// VIRTUAL_GPU_SOCKET names a device process. Read once, lazily: hooks run before constructors.
bool Active();
// Directory that stands for / in redirected paths; valid when Active().
const char* RootDirectory();

// Both return a new descriptor or -1 with errno set. `flags` as for open().
int OpenKfd(int flags);
int OpenRenderNode(unsigned minor, int flags);

enum class FdKind { kOther, kKfd, kStaleKfd, kRender };
// `gpu` is set for kRender.
FdKind Classify(int fd, unsigned* gpu);
// The same from a stat result, so that the fstat hooks need no second system call.
FdKind ClassifyInode(std::uint64_t device, std::uint64_t inode, unsigned* gpu);

struct Message {
  rpc::RequestHeader header;
  void* arg = nullptr;                // in and out, header.arg_bytes
  void* payload = nullptr;            // in and out
  std::uint32_t payload_out_max = 0;  // how much of the reply's payload may be stored
  std::uint32_t payload_out = 0;      // how much was
};
int Call(Message* message);

// `path`, which is ours, is about to be opened: asks for what it shows to be of this moment. Needs
// no /dev/kfd; says nothing when the device process does not answer.
void RefreshFile(const char* path);

// True once the device process has gone away.
bool DeviceLost();
unsigned GpuCount();
unsigned FirstRenderMinor();
unsigned FirstGpuId();

}  // namespace virtual_gpu::interposer
