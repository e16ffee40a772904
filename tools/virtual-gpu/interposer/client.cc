#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "kfd_abi.h"

namespace virtual_gpu::interposer {
namespace {

struct Inode {
  std::uint64_t device = 0, inode = 0;
};

constexpr int kPoolMax = 128;
constexpr int kFdsMax = 1 + rpc::kGpusMax;

pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
bool g_environment_read = false;
char g_socket_path[108];
char g_root[128];

// Guarded by g_lock until g_connected is set; constant after that, until a fork.
bool g_connected = false;
bool g_lost = false;
bool g_atfork_registered = false;
std::uint64_t g_nonce = 0;
rpc::HelloReply g_hello;
int g_fds[kFdsMax];  // 0: kfd, then one per GPU
Inode g_inodes[kFdsMax];
Inode g_stale_kfd;
int g_main_connection = -1;  // never pooled: its end is the end of this process
// Two for the runtime's threads that wait for events (ROCr 6.4; before, there was one), and two for calls: a program
// that has given up its rights can't connect again, and its open node serves on, as the driver's would.
constexpr int kSpares = 4;
int g_pool[kPoolMax];
int g_pooled = 0;

void ReadEnvironment() {
  if (__atomic_load_n(&g_environment_read, __ATOMIC_ACQUIRE)) return;
  const char* path = getenv(rpc::kSocketEnv);
  if (path != nullptr && path[0] != '\0' && strlen(path) < sizeof(g_socket_path)) {
    const char* slash = strrchr(path, '/');
    const int directory_bytes = slash == nullptr ? 1 : static_cast<int>(slash - path);
    snprintf(g_root, sizeof(g_root), "%.*s/%s", directory_bytes, slash == nullptr ? "." : path,
             rpc::kRootName);
    memcpy(g_socket_path, path, strlen(path) + 1);
  }
  __atomic_store_n(&g_environment_read, true, __ATOMIC_RELEASE);
}

void AfterForkInChild() {
  pthread_mutex_init(&g_lock, nullptr);
  if (!g_connected) return;
  g_stale_kfd = g_inodes[0];
  close(g_main_connection);
  g_main_connection = -1;
  for (int i = 0; i < g_pooled; ++i) close(g_pool[i]);
  g_pooled = 0;
  for (unsigned i = 0; i <= g_hello.gpus; ++i) close(g_fds[i]);
  g_connected = false;
  g_lost = false;
}

void ReportLost() {
  if (__atomic_exchange_n(&g_lost, true, __ATOMIC_ACQ_REL)) return;
  static constexpr char kLine[] =
      "virtual-gpu: the device process (virtual-gpud) has gone; GPU calls fail with EIO from now "
      "on; restart the program under `virtual-gpu run`\n";
  const ssize_t written = write(STDERR_FILENO, kLine, sizeof(kLine) - 1);
  (void)written;
}

int Connect() {
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, g_socket_path, sizeof(g_socket_path));
  int rc;
  do {
    rc = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  } while (rc != 0 && errno == EINTR);
  if (rc != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

// Sends one message; false when the connection is of no use any more.
bool Send(int fd, const Message& message) {
  iovec parts[3] = {
      {const_cast<rpc::RequestHeader*>(&message.header), sizeof(message.header)},
      {message.arg, message.header.arg_bytes},
      {message.payload, message.header.payload_bytes},
  };
  msghdr out = {};
  out.msg_iov = parts;
  out.msg_iovlen = 3;
  ssize_t sent;
  do {
    sent = sendmsg(fd, &out, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent >= 0;
}

// Receives the reply of `message` into its own buffers. Layout: header, arg, payload; the reply's
// argument is as long as the request's.
bool Receive(int fd, Message* message, rpc::ReplyHeader* reply, int* fds, int* fd_count) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kFdsMax)];
  iovec parts[3] = {
      {reply, sizeof(*reply)},
      {message->arg, message->header.arg_bytes},
      {message->payload, message->payload_out_max},
  };
  msghdr in = {};
  in.msg_iov = parts;
  in.msg_iovlen = 3;
  in.msg_control = control;
  in.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(fd, &in, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < static_cast<ssize_t>(sizeof(*reply)) || reply->magic != rpc::kMagic) return false;
  int count = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&in); c != nullptr; c = CMSG_NXTHDR(&in, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    count = static_cast<int>((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    if (fds != nullptr) memcpy(fds, CMSG_DATA(c), sizeof(int) * static_cast<unsigned>(count));
  }
  if (fd_count != nullptr) *fd_count = count;
  const ssize_t beyond = got - static_cast<ssize_t>(sizeof(*reply) + message->header.arg_bytes);
  message->payload_out = beyond > 0 ? static_cast<std::uint32_t>(beyond) : 0;
  return true;
}

bool SayHello(int fd, rpc::HelloReply* answer, int* fds, int* fd_count) {
  // One buffer serves both ways; the reply is the longer.
  union {
    rpc::Hello hello;
    rpc::HelloReply reply;
  } buffer = {};
  buffer.hello = rpc::Hello{rpc::kProtocolVersion, 0, g_nonce};
  Message message;
  message.header.kind = rpc::Kind::kHello;
  message.header.arg_bytes = sizeof(buffer);
  message.arg = &buffer;
  rpc::ReplyHeader reply;
  if (!Send(fd, message) || !Receive(fd, &message, &reply, fds, fd_count) || reply.error != 0) {
    return false;
  }
  *answer = buffer.reply;
  return true;
}

// A program without interrupts spins on its signals: nothing can tell it that nobody will ever
// change them. As a real machine does when a GPU is pulled out, it is ended.
void* WatchConnection(void* argument) {
  pollfd wait = {static_cast<int>(reinterpret_cast<intptr_t>(argument)), POLLRDHUP, 0};
  while (poll(&wait, 1, -1) < 0 && errno == EINTR) {
  }
  ReportLost();
  constexpr int kGraceSeconds = 1;  // for the program's own way out
  sleep(kGraceSeconds);
  static constexpr char kLine[] =
      "virtual-gpu: this program spins on its signals (HSA_ENABLE_INTERRUPT=0), which nobody "
      "completes any more; it is ended\n";
  const ssize_t written = write(STDERR_FILENO, kLine, sizeof(kLine) - 1);
  (void)written;
  abort();
}

void StartWatcher() {
  const char* interrupts = getenv("HSA_ENABLE_INTERRUPT");
  if (interrupts == nullptr || strcmp(interrupts, "0") != 0) return;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, nullptr, WatchConnection,
                     reinterpret_cast<void*>(static_cast<intptr_t>(g_main_connection))) == 0) {
    pthread_detach(thread);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// One more that has said hello.
int OpenConnection() {
  const int fd = Connect();
  if (fd < 0) return -1;
  rpc::HelloReply answer;
  int fds[kFdsMax];
  int count = 0;
  const bool ok = SayHello(fd, &answer, fds, &count);
  for (int i = 0; i < count; ++i) close(fds[i]);
  if (ok) return fd;
  close(fd);
  return -1;
}

// Under g_lock.
int ConnectProcess() {
  if (g_connected) return 0;
  if (getrandom(&g_nonce, sizeof(g_nonce), 0) != sizeof(g_nonce)) {
    g_nonce = static_cast<std::uint64_t>(getpid());
  }
  const int fd = Connect();
  if (fd < 0) {
    fprintf(stderr,
            "virtual-gpu: no device process answers at %s (%s); start the program with "
            "`virtual-gpu run`\n",
            g_socket_path, strerror(errno));
    return ENOENT;
  }
  int count = 0;
  if (!SayHello(fd, &g_hello, g_fds, &count) || count != static_cast<int>(1 + g_hello.gpus)) {
    fprintf(stderr,
            "virtual-gpu: the device process at %s refused the connection; are "
            "libvirtual-gpu.so and virtual-gpud of one build?\n",
            g_socket_path);
    close(fd);
    return ENODEV;
  }
  for (int i = 0; i < count; ++i) {
    struct stat info;
    if (syscall(SYS_fstat, g_fds[i], &info) == 0) g_inodes[i] = Inode{info.st_dev, info.st_ino};
  }
  // USERPTR memory is read and written by the device process (process_vm_readv).
  prctl(PR_SET_PTRACER, g_hello.pid, 0, 0, 0);
  if (!g_atfork_registered) {
    pthread_atfork(nullptr, nullptr, AfterForkInChild);
    g_atfork_registered = true;
  }
  g_main_connection = fd;
  while (g_pooled < kSpares) {
    const int spare = OpenConnection();
    if (spare < 0) break;
    g_pool[g_pooled++] = spare;
  }
  StartWatcher();
  __atomic_store_n(&g_connected, true, __ATOMIC_RELEASE);
  return 0;
}

// Leaves `left` of them.
int TakePooled(int left) {
  pthread_mutex_lock(&g_lock);
  const int fd = g_pooled > left ? g_pool[--g_pooled] : -1;
  pthread_mutex_unlock(&g_lock);
  return fd;
}

// Not by poll, which a limit of no descriptors at all makes fail.
bool MainConnectionLives() {
  char byte;
  const ssize_t got = recv(g_main_connection, &byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}

// A connection for one call: from the pool, or a new one that has said hello. Where none can be made, for want of
// descriptors or rights, a call waits for one that others give back; those that wait for events leave one for the
// rest, whose answers come at once. Where there is none: -1, and in *error why.
int AcquireConnection(bool waits, int* error) {
  constexpr int kTriesMax = 2000;  // of a millisecond
  for (int tries = 0; tries < kTriesMax; ++tries) {
    int fd = TakePooled(waits ? 1 : 0);
    if (fd < 0) fd = OpenConnection();
    if (fd >= 0) return fd;
    if (!MainConnectionLives()) {
      *error = EIO;
      return -1;
    }
    usleep(1000);
  }
  *error = ENOMEM;
  return -1;
}

void ReleaseConnection(int fd) {
  pthread_mutex_lock(&g_lock);
  const bool kept = g_pooled < kPoolMax;
  if (kept) g_pool[g_pooled++] = fd;
  pthread_mutex_unlock(&g_lock);
  if (!kept) close(fd);
}

// The kernel asks the node's owner and mode at each open, also of a program that has one open already.
bool MayOpenKfd(int flags) {
  char path[sizeof(g_root) + 16];
  snprintf(path, sizeof(path), "%s/dev/kfd", g_root);
  const int mode = (flags & O_ACCMODE) == O_RDONLY ? R_OK : R_OK | W_OK;
  const int saved_errno = errno;
  const bool refused =
      syscall(SYS_faccessat2, AT_FDCWD, path, mode, AT_EACCESS) != 0 && errno == EACCES;
  errno = saved_errno;
  return !refused;
}

int OpenNode(int index_wanted, unsigned minor, int flags) {
  if (index_wanted == 0 && !MayOpenKfd(flags)) {
    errno = EACCES;
    return -1;
  }
  pthread_mutex_lock(&g_lock);
  int error = ConnectProcess();
  pthread_mutex_unlock(&g_lock);
  if (error == 0 && DeviceLost()) error = EIO;
  int index = index_wanted;
  if (error == 0 && index != 0) {
    index = static_cast<int>(minor - g_hello.first_render_minor) + 1;
    if (minor < g_hello.first_render_minor || index > static_cast<int>(g_hello.gpus)) {
      error = ENOENT;
    }
  }
  if (error != 0) {
    errno = error;
    return -1;
  }
  return fcntl(g_fds[index], (flags & O_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
}

}  // namespace

bool Active() {
  ReadEnvironment();
  return g_socket_path[0] != '\0';
}

const char* RootDirectory() { return g_root; }

int OpenKfd(int flags) { return OpenNode(0, 0, flags); }

int OpenRenderNode(unsigned minor, int flags) { return OpenNode(1, minor, flags); }

FdKind ClassifyInode(std::uint64_t device, std::uint64_t inode, unsigned* gpu) {
  if (inode == g_stale_kfd.inode && device == g_stale_kfd.device && inode != 0) {
    return FdKind::kStaleKfd;
  }
  if (!__atomic_load_n(&g_connected, __ATOMIC_ACQUIRE)) return FdKind::kOther;
  for (unsigned i = 0; i <= g_hello.gpus; ++i) {
    if (g_inodes[i].inode != inode || g_inodes[i].device != device) continue;
    if (i == 0) return FdKind::kKfd;
    *gpu = i - 1;
    return FdKind::kRender;
  }
  return FdKind::kOther;
}

FdKind Classify(int fd, unsigned* gpu) {
  if (!__atomic_load_n(&g_connected, __ATOMIC_ACQUIRE) && g_stale_kfd.inode == 0) {
    return FdKind::kOther;
  }
  struct stat info;
  if (syscall(SYS_fstat, fd, &info) != 0) return FdKind::kOther;
  return ClassifyInode(info.st_dev, info.st_ino, gpu);
}

int Call(Message* message) {
  if (DeviceLost()) return EIO;
  const bool waits =
      message->header.kind == rpc::Kind::kKfdIoctl && message->header.number == kfd::kWaitEvents;
  int failed = 0;
  const int fd = AcquireConnection(waits, &failed);
  if (fd < 0) {
    if (failed == EIO) ReportLost();
    return failed;
  }
  rpc::ReplyHeader reply;
  if (!Send(fd, *message)) {
    const int error = errno;
    if (error == EFAULT) {  // what the caller's struct points to; nothing was sent
      ReleaseConnection(fd);
      return EFAULT;
    }
    close(fd);
    if (error == EMSGSIZE || error == ENOBUFS || error == ENOMEM) return ENOMEM;
    ReportLost();
    return EIO;
  }
  errno = 0;
  if (!Receive(fd, message, &reply, nullptr, nullptr)) {
    const int error = errno;
    close(fd);
    if (error == EFAULT) return EFAULT;  // the answer had nowhere to go
    ReportLost();
    return EIO;
  }
  ReleaseConnection(fd);
  return reply.error;
}

void RefreshFile(const char* path) {
  const int saved_errno = errno;
  const size_t length = strlen(path);
  const int fd = length < rpc::kArgBytesMax ? Connect() : -1;
  if (fd >= 0) {
    char arg[rpc::kArgBytesMax] = {};
    memcpy(arg, path, length + 1);
    Message message;
    message.header.kind = rpc::Kind::kRefresh;
    message.header.arg_bytes = sizeof(arg);
    message.arg = arg;
    rpc::ReplyHeader reply;
    if (Send(fd, message)) Receive(fd, &message, &reply, nullptr, nullptr);
    close(fd);
  }
  errno = saved_errno;
}

bool DeviceLost() { return __atomic_load_n(&g_lost, __ATOMIC_ACQUIRE); }

unsigned GpuCount() { return g_hello.gpus; }

unsigned FirstRenderMinor() { return g_hello.first_render_minor; }

unsigned FirstGpuId() { return g_hello.gpu_ids[0]; }

}  // namespace virtual_gpu::interposer
