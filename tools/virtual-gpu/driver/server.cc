#include "server.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "pacer.h"
#include "report.h"
#include "topology.h"

namespace virtual_gpu {
namespace {

namespace fs = std::filesystem;

int g_stop_fd = -1;  // an eventfd, for the signal handler

bool SetEpoll(int epoll_fd, int operation, int fd, std::uint32_t events) {
  epoll_event event = {};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll_fd, operation, fd, &event) == 0;
}

bool AddToEpoll(int epoll_fd, int fd) { return SetEpoll(epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN); }

}  // namespace

Server::Server(ServerOptions options) : options_(std::move(options)), clock_(options_.time_scale) {}

Server::~Server() {
  for (auto& [name, process] : processes_) driver_->EndProcess(process.get());
  // Before the connections end: who waits for that may start the next device here at once.
  RemoveFiles();
  connections_.clear();
  processes_.clear();
  timers_ = Timers();
  driver_.reset();
  gpus_.clear();
  for (const int fd : {listen_fd_, epoll_fd_, timer_fd_}) {
    if (fd >= 0) close(fd);
  }
}

void Server::RemoveFiles() {
  if (listen_fd_ < 0) return;
  std::error_code ignored;
  fs::remove(options_.directory / rpc::kSocketName, ignored);
  fs::remove_all(options_.directory / rpc::kRootName, ignored);
  fs::remove(options_.directory / kClockFileName, ignored);
  fs::remove(options_.directory, ignored);  // only when nothing else is in it
}

void Server::RequestStop() {
  const std::uint64_t one = 1;
  const ssize_t written = write(g_stop_fd, &one, sizeof(one));
  (void)written;
}

bool Server::Start() {
  // This thread is Run's, too.
  Pacer::PrepareThread();
  if (!Listen()) return false;
  // Before the GPUs' threads use it, and after Listen has made sure that the folder is ours.
  const fs::path clock_file = options_.directory / kClockFileName;
  if (!clock_.Publish(clock_file)) {
    Report("cannot write %s: %s", clock_file.c_str(), std::strerror(errno));
    return false;
  }
  for (std::uint32_t i = 0; i < options_.gpus; ++i) {
    auto gpu = Gpu::Create(i, options_.model, &clock_);
    if (gpu == nullptr) return false;
    gpus_.push_back(std::move(gpu));
  }
  driver_ = std::make_unique<KfdDriver>(&gpus_, &clock_, &timers_, &proc_files_, &processes_,
                                        options_.strict);
  std::vector<TopologyGpu> shown;
  shown.reserve(gpus_.size());
  for (const auto& gpu : gpus_) shown.push_back({gpu->gpu_id(), gpu->model()});
  try {
    fs::remove_all(options_.directory / rpc::kRootName);
    GenerateTopology(options_.directory / rpc::kRootName, shown);
    proc_files_.Start(options_.directory / rpc::kRootName, &gpus_);
  } catch (const std::exception& e) {
    Report("cannot write the topology files: %s", e.what());
    return false;
  }
  unused_since_ns_ = RawNs();
  if (options_.ready_fd >= 0) {
    const ssize_t written = write(options_.ready_fd, "+", 1);
    (void)written;
    close(options_.ready_fd);
  }
  return true;
}

bool Server::Listen() {
  std::error_code error;
  fs::create_directories(options_.directory, error);
  const std::string path = options_.directory / rpc::kSocketName;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    Report("the socket path %s is longer than %zu bytes; choose a shorter directory", path.c_str(),
           sizeof(address.sun_path) - 1);
    return false;
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    Report("cannot make a socket for %s: %s", path.c_str(), std::strerror(errno));
    return false;
  }
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  // A socket that nobody answers is left over from a killed device process.
  if (connect(fd, name, sizeof(address)) == 0) {
    Report("another device process answers at %s; stop it first or choose another name",
           path.c_str());
    close(fd);
    return false;
  }
  close(fd);
  unlink(path.c_str());
  listen_fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const mode_t old_mask = umask(0077);
  const bool bound = listen_fd_ >= 0 && bind(listen_fd_, name, sizeof(address)) == 0 &&
                     listen(listen_fd_, 128) == 0;
  umask(old_mask);
  if (!bound) {
    Report("cannot listen at %s: %s", path.c_str(), std::strerror(errno));
    if (listen_fd_ >= 0) close(listen_fd_);
    listen_fd_ = -1;
    return false;
  }
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (g_stop_fd < 0) g_stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return AddToEpoll(epoll_fd_, listen_fd_) && AddToEpoll(epoll_fd_, timer_fd_) &&
         AddToEpoll(epoll_fd_, g_stop_fd);
}

void Server::Run() {
  constexpr int kGracePollMs = 200;
  while (!stop_) {
    Turn(users_ == 0 && !options_.stay ? kGracePollMs : -1);
    CheckGrace();
  }
}

int Server::Turn(int wait_ms) {
  ArmTimer();
  epoll_event events[64];
  const int count = epoll_wait(epoll_fd_, events, 64, wait_ms);
  for (int i = 0; i < count; ++i) {
    const int fd = events[i].data.fd;
    if (fd == listen_fd_) {
      Accept();
    } else if (fd == g_stop_fd) {
      stop_ = true;
    } else if (fd == timer_fd_) {
      std::uint64_t expirations;
      const ssize_t got = read(timer_fd_, &expirations, sizeof(expirations));
      (void)got;
    } else if (const auto it = connections_.find(fd); it != connections_.end()) {
      const auto connection = it->second;
      if (!ReceiveFrom(connection)) Close(fd);
    } else {
      ReapByPidFd(fd);
    }
  }
  timers_.RunDue(RawNs());
  return count;
}

void Server::ArmTimer() {
  itimerspec spec = {};
  const std::int64_t due = timers_.NextDue();
  if (due != INT64_MAX) {
    const std::int64_t in = std::max<std::int64_t>(due - RawNs(), 1);
    spec.it_value = {in / 1'000'000'000, in % 1'000'000'000};
  }
  timerfd_settime(timer_fd_, 0, &spec, nullptr);
}

void Server::CheckGrace() {
  if (users_ != 0) unused_since_ns_ = RawNs();
  if (options_.stay || users_ != 0) return;
  if (RawNs() - unused_since_ns_ > options_.grace_ms * 1'000'000) stop_ = true;
}

void Server::Accept() {
  for (;;) {
    const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) AcceptLater();
      return;
    }
    ucred peer = {};
    socklen_t bytes = sizeof(peer);
    const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0;
    if (!known || (peer.uid != geteuid() && peer.uid != 0) || !AddToEpoll(epoll_fd_, fd)) {
      close(fd);
      continue;
    }
    connections_[fd] = std::make_shared<Connection>(fd, peer.pid, peer.uid);
  }
}

// Who cannot be accepted stays in the socket's queue, which stays readable: a loop that waits for it would spin. Nobody
// is refused, because a program takes that for the death of its device.
void Server::AcceptLater() {
  constexpr std::int64_t kAgainNs = 100'000'000;
  ReportOnce("descriptors", std::string("cannot accept a connection now (") + std::strerror(errno) +
                                "); programs that connect wait until others have ended");
  SetEpoll(epoll_fd_, EPOLL_CTL_MOD, listen_fd_, 0);
  timers_.Add(RawNs() + kAgainNs,
              [this] { SetEpoll(epoll_fd_, EPOLL_CTL_MOD, listen_fd_, EPOLLIN); });
}

void Server::Close(int fd) {
  const auto it = connections_.find(fd);
  if (it == connections_.end()) return;
  const auto connection = it->second;
  connections_.erase(it);
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  timers_.Cancel(connection->wait_timeout);
  if (connection->process != nullptr) {
    connection->process->events.Forget(connection.get());
    if (connection->is_main) EndProcess(connection->process);
  }
  if (connection->is_user) --users_;
  shutdown(fd, SHUT_RDWR);
}

void Server::EndProcess(const std::shared_ptr<Process>& process) {
  if (process->pid_fd >= 0) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, process->pid_fd, nullptr);
  driver_->EndProcess(process.get());
  processes_.erase({process->pid, process->nonce});
}

// A fork child may hold the dead process's sockets open; the kernel knows better.
void Server::ReapByPidFd(int fd) {
  for (const auto& [name, process] : processes_) {
    if (process->pid_fd != fd) continue;
    const std::shared_ptr<Process> dead = process;
    for (auto it = connections_.begin(); it != connections_.end();) {
      const auto current = it++;
      if (current->second->process == dead) Close(current->first);
    }
    EndProcess(dead);
    return;
  }
}

}  // namespace virtual_gpu
