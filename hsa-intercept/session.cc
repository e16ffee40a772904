#include "session.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace xsched_hsa {
namespace {

constexpr int kDescriptors = 3;

void Say(char* why, std::uint32_t why_bytes, const char* what) {
  std::snprintf(why, why_bytes, "%s: %s", what, strerrordesc_np(errno));
}

bool IsOutOfDescriptors(int error) { return error == EMFILE || error == ENFILE; }

// A reason to be told about, like a refusal: nobody else would say why the program is not scheduled.
void SayOutOfDescriptors(SessionLink* link, char* why, std::uint32_t why_bytes) {
  link->refused = true;
  std::snprintf(why, why_bytes,
                "this program has no file descriptors left for the controller; raise its limit "
                "(ulimit -n)");
}

// In a folder that anybody may write to, another user could have been there first.
bool IsTrustedPeer(int fd) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return false;
  return peer.uid == 0 || peer.uid == geteuid();
}

int Dial(const char* path, SessionLink* link, char* why, std::uint32_t why_bytes) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof(address.sun_path) || *path == '\0') {
    std::snprintf(why, why_bytes,
                  "the controller's socket path is too long for a socket; set a shorter "
                  "XSCHED_HSA_SOCKET");
    return -1;
  }
  std::strcpy(address.sun_path, path);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    if (IsOutOfDescriptors(errno)) {
      SayOutOfDescriptors(link, why, why_bytes);
    } else {
      Say(why, why_bytes, "socket");
    }
    return -1;
  }
  // Non-blocking: a controller that has stopped accepting must not stop the program.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    std::snprintf(why, why_bytes, "no controller answers at %s (%s)", path, strerrordesc_np(errno));
    close(fd);
    return -1;
  }
  if (!IsTrustedPeer(fd)) {
    std::snprintf(why, why_bytes, "the program that answers at %s belongs to another user", path);
    close(fd);
    return -1;
  }
  return fd;
}

void ReadExe(char* exe, std::size_t exe_bytes) {
  const ssize_t length = readlink("/proc/self/exe", exe, exe_bytes - 1);
  exe[length > 0 ? length : 0] = '\0';
}

void ReadComm(char* comm, std::size_t comm_bytes) {
  const int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
  const ssize_t length = fd >= 0 ? read(fd, comm, comm_bytes - 1) : 0;
  if (fd >= 0) close(fd);
  comm[length > 0 ? length : 0] = '\0';
  if (char* newline = std::strchr(comm, '\n'); newline != nullptr) *newline = '\0';
}

bool SayHello(int fd, const Config& config, const RuntimeVersion& version) {
  HelloMessage hello{};
  hello.header = {kWireMagic, kAbiVersion, WireType::kHello, sizeof(hello)};
  hello.priority = config.priority;
  hello.namespace_pid = static_cast<std::uint32_t>(getpid());
  hello.hsa_table_major = version.table_major;
  hello.hsa_ext_table_bytes = version.ext_table_bytes;
  hello.gate = config.gate == GateRequest::kNone        ? GateKind::kNone
               : config.gate == GateRequest::kIntercept ? GateKind::kIntercept
                                                        : GateKind::kWindow;
  ReadComm(hello.comm, sizeof(hello.comm));
  ReadExe(hello.exe, sizeof(hello.exe));
  std::memcpy(hello.run_token, config.run_token, sizeof(hello.run_token));
  return send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof(hello));
}

// The first ones, whatever number came: a control buffer has room for one more than was asked for.
void TakeDescriptors(const cmsghdr& header, int (&fds)[kDescriptors]) {
  const std::size_t count = (header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  std::size_t taken = 0;
  for (std::size_t i = 0; i < count; ++i) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(&header) + i * sizeof(int), sizeof(fd));
    if (taken < kDescriptors) {
      fds[taken++] = fd;
    } else {
      close(fd);
    }
  }
}

// Receives the welcome and its descriptors (or -1 each).
bool ReceiveWelcome(int fd, WelcomeMessage* welcome, int (&fds)[kDescriptors]) {
  pollfd waiting{fd, POLLIN, 0};
  if (poll(&waiting, 1, kAnswerTimeoutMs) != 1) {
    errno = ETIMEDOUT;
    return false;
  }
  iovec part{welcome, sizeof(*welcome)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(fds))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  for (int& received : fds) received = -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); got > 0 && c != nullptr;
       c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) TakeDescriptors(*c, fds);
  }
  if (got >= 0) errno = EPROTO;
  // The kernel drops those that there is no room for.
  if (got > 0 && (message.msg_flags & MSG_CTRUNC) != 0 && fds[kDescriptors - 1] < 0) {
    errno = EMFILE;
    return false;
  }
  // Another version's may be shorter; its header says so.
  return got >= static_cast<ssize_t>(sizeof(welcome->header));
}

// The seals make sure that nobody can shrink the page under us, which would be a SIGBUS in the
// program.
void* MapSealed(int fd, std::size_t bytes) {
  const int seals = fd < 0 ? -1 : fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 ||
      lseek(fd, 0, SEEK_END) < static_cast<off_t>(bytes)) {
    errno = EPROTO;
    return nullptr;
  }
  void* page = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return page == MAP_FAILED ? nullptr : page;
}

// Puts empty memory of our own in the page's place, in one step: whoever still looks there finds
// that nothing is ordered, and the page itself goes as soon as nobody else has it. Who is about to
// sleep on `word` must find it changed, so its value moves on.
void LeaveEmpty(void* page, std::size_t bytes, const std::atomic<std::uint32_t>* word) {
  void* empty = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (empty == MAP_FAILED) return;
  const std::size_t at = static_cast<std::size_t>(reinterpret_cast<const unsigned char*>(word) -
                                                  static_cast<unsigned char*>(page));
  const std::uint32_t moved_on = word->load(std::memory_order_seq_cst) + (1u << 30);
  std::memcpy(static_cast<unsigned char*>(empty) + at, &moved_on, sizeof(moved_on));
  if (mremap(empty, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, page) == MAP_FAILED) {
    munmap(empty, bytes);
  }
}

bool MapPages(const int (&fds)[kDescriptors], SessionLink* link) {
  auto* process = static_cast<ProcessPage*>(MapSealed(fds[0], sizeof(ProcessPage)));
  auto* user = static_cast<UserPage*>(MapSealed(fds[1], sizeof(UserPage)));
  const bool good = process != nullptr && user != nullptr && process->magic == kPageMagic &&
                    process->abi_version == kAbiVersion && user->magic == kPageMagic &&
                    user->abi_version == kAbiVersion;
  if (!good) {
    if (process != nullptr) munmap(process, sizeof(ProcessPage));
    if (user != nullptr) munmap(user, sizeof(UserPage));
    return false;
  }
  link->process_page = process;
  link->user_page = user;
  return true;
}

bool Accept(const WelcomeMessage& welcome, const int (&fds)[kDescriptors], SessionLink* link,
            char* why, std::uint32_t why_bytes) {
  const WireHeader& header = welcome.header;
  const bool same_version = header.abi_version == kAbiVersion;
  if (header.magic != kWireMagic || (same_version && header.size_bytes != sizeof(welcome))) {
    std::snprintf(why, why_bytes,
                  "the answer is not a controller's: is another program on the socket?");
    return false;
  }
  link->refused = true;
  if (!same_version) {
    std::snprintf(why, why_bytes,
                  "this layer speaks version %u, the controller version %u; install layer and "
                  "controller of one release",
                  kAbiVersion, header.abi_version);
    return false;
  }
  if (header.type != WireType::kWelcome) {
    std::snprintf(why, why_bytes, "refused by the controller: %.*s",
                  static_cast<int>(sizeof(welcome.text)) - 1, welcome.text);
    return false;
  }
  if (!MapPages(fds, link)) {
    Say(why, why_bytes, "the controller's pages can't be mapped");
    return false;
  }
  link->refused = false;
  link->id = welcome.session_id;
  link->peer_pid = welcome.peer_pid;
  return true;
}

}  // namespace

bool Connect(const Config& config, const RuntimeVersion& version, SessionLink* link, char* why,
             std::uint32_t why_bytes) {
  const int fd = Dial(config.socket_path, link, why, why_bytes);
  if (fd < 0) return false;
  link->socket = OwnDescriptor(fd);  // at once: a fork child closes it
  int fds[kDescriptors] = {-1, -1, -1};
  WelcomeMessage welcome{};
  bool good = SayHello(fd, config, version) && ReceiveWelcome(fd, &welcome, fds);
  if (!good && IsOutOfDescriptors(errno)) {
    SayOutOfDescriptors(link, why, why_bytes);
  } else if (!good) {
    Say(why, why_bytes, "the controller did not answer");
  } else {
    welcome.text[sizeof(welcome.text) - 1] = '\0';
    good = Accept(welcome, fds, link, why, why_bytes);
  }
  if (fds[0] >= 0) close(fds[0]);
  if (fds[1] >= 0) close(fds[1]);
  if (!good) {
    if (fds[2] >= 0) close(fds[2]);
    link->socket.Close();
    return false;
  }
  link->event = OwnDescriptor(fds[2]);
  return true;
}

void WaitForHangup(const SessionLink& link) {
  while (true) {
    const int before = link.socket.fd();
    if (before < 0) return;
    pollfd waiting{before, POLLIN, 0};
    if (poll(&waiting, 1, -1) < 0 && errno != EINTR) return;
    if (link.process_page->detached.load(std::memory_order_acquire) != 0) return;
    char message[256];
    const int now = link.socket.fd();
    if (now < 0) return;
    const ssize_t got = recv(now, message, sizeof(message), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
  }
}

void Disconnect(SessionLink* link) {
  link->socket.Close();
  link->event.Close();
  if (ProcessPage* page = link->process_page) LeaveEmpty(page, sizeof(*page), &page->wake);
  if (UserPage* page = link->user_page) LeaveEmpty(page, sizeof(*page), &page->bell);
  *link = SessionLink{};
}

}  // namespace xsched_hsa
