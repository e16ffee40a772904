// rpc_protocol.h: messages between a process under the virtual GPU and its device process.
//
// Why        An ioctl on the virtual /dev/kfd becomes one request and one reply on an AF_UNIX
//            SOCK_SEQPACKET connection. Packets, signals and doorbells never pass here: they are in
//            memory that both sides map.
// Threads    one request at a time on a connection; a process opens as many connections as it has
//            threads inside an ioctl, so WAIT_EVENTS never holds up another call.
// Ownership  a process is known by (pid from SO_PEERCRED, nonce). Its first connection is the one
//            whose end is the end of the process; file descriptors come with the hello reply.
// Limits     kMessageBytesMax for header, argument and payload together.
#pragma once

#include <cstdint>

namespace virtual_gpu::rpc {

inline constexpr std::uint32_t kMagic = 0x55504756;  // "VGPU"
inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kArgBytesMax = 512;
inline constexpr std::uint32_t kMessageBytesMax = 192 * 1024;
inline constexpr std::uint32_t kGpusMax = 16;

enum class Kind : std::uint32_t {
  kHello = 1,     // arg: Hello; reply arg: HelloReply, with 1 + gpus descriptors
  kKfdIoctl = 2,  // number: _IOC_NR; arg: the ioctl's struct; payload: what its pointer leads to
  kDrmInfo = 3,   // number: AMDGPU_INFO query; arg: DrmInfo; reply payload: the answer
  kStats = 4,     // number 1: with places on CUs; reply: one descriptor, a memfd with a JSON text
  kWatch = 5,     // a launcher that keeps the device process alive; reply arg: HelloReply
  kShutdown = 6,  // the device process ends
  kRefresh = 7,   // arg: a path that is about to be opened, zero-padded; its file is written again
  kFault = 8,     // arg: a fault's text, zero-padded; reply: EINVAL and a line in arg, or 0
};

// Request: RequestHeader, arg_bytes, payload_bytes. Reply: ReplyHeader, arg_bytes, payload_bytes.
struct RequestHeader {
  std::uint32_t magic = kMagic;
  Kind kind = Kind::kHello;
  std::uint32_t number = 0;
  std::uint32_t arg_bytes = 0;
  std::uint32_t payload_bytes = 0;
  std::int32_t thread = 0;  // the caller's thread id, where it matters (DBG_TRAP)
};
struct ReplyHeader {
  std::uint32_t magic = kMagic;
  std::int32_t error = 0;  // 0, a positive errno, or minus what the ioctl returns
  std::uint32_t arg_bytes = 0;
  std::uint32_t payload_bytes = 0;
};

struct Hello {
  std::uint32_t version = kProtocolVersion;
  std::uint32_t reserved = 0;
  std::uint64_t nonce = 0;  // chosen by the process, the same on all its connections
};
struct HelloReply {
  std::uint32_t version = kProtocolVersion;
  std::uint32_t gpus = 0;
  std::int32_t pid = 0;  // of the device process
  std::uint32_t first_render_minor = 128;
  double time_scale = 1.0;
  char profile[32] = {};
  std::uint32_t gpu_ids[kGpusMax] = {};
};
struct DrmInfo {
  std::uint32_t gpu = 0;
  std::uint32_t query = 0;
  std::uint32_t return_bytes = 0;
  std::uint32_t detail = 0;  // query-specific second word
};

// Where things are, relative to the directory that holds the socket.
inline constexpr char kSocketName[] = "socket";
inline constexpr char kRootName[] = "root";  // the sysfs, proc and dev tree shown to processes
inline constexpr char kSocketEnv[] = "VIRTUAL_GPU_SOCKET";

}  // namespace virtual_gpu::rpc
