// server_setup.cc: taking the socket's place, and giving it back.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "metrics.h"
#include "server.h"
#include "server_tags.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

// Each session keeps two descriptors and each user one.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Server::Server(const ServerOptions& options, Core* core, ControllerInfo* info,
               Configuration* configuration, Events* events)
    : options_(options),
      core_(core),
      info_(info),
      configuration_(configuration),
      events_(events),
      requests_(core, info, configuration, events) {}

Server::~Server() {
  Unpublish();
  for (auto& [id, connection] : connections_) close(connection.fd);
  for (auto& [id, io] : sessions_) close(io.event_fd);
  for (const int fd : {listen_fd_, epoll_fd_, timer_fd_, trace_fd_, signal_fd_, lock_fd_}) {
    if (fd >= 0) close(fd);
  }
}

std::string Server::Open() {
  RaiseDescriptorLimit();
  // systemd has made the directory of its socket, and starts one of us.
  std::string error;
  if (options_.inherited_fd < 0) {
    error = PrepareSocketDirectory(options_.socket_path);
    if (error.empty()) error = TakeLock();
  }
  if (!error.empty()) return error;

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  trace_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  spare_.Open();
  if (epoll_fd_ < 0 || timer_fd_ < 0 || trace_fd_ < 0 || signal_fd_ < 0) {
    return std::string("cannot make descriptors: ") + std::strerror(errno) +
           "; raise the limit (ulimit -n)";
  }
  error = options_.inherited_fd >= 0 ? AdoptListener() : Listen();
  if (!error.empty()) return error;
  if (!options_.metrics.empty()) error = OpenMetrics();
  if (!error.empty()) return error;
  Watch(signal_fd_, MakeTag(TagKind::kSignal), EPOLLIN);
  Watch(timer_fd_, MakeTag(TagKind::kTimer), EPOLLIN);
  Watch(trace_fd_, MakeTag(TagKind::kTraceTimer), EPOLLIN);
  Watch(listen_fd_, MakeTag(TagKind::kListener), EPOLLIN);
  if (options_.ready_fd >= 0) {
    // A parent that has gone meanwhile is its own business.
    const ssize_t written = write(options_.ready_fd, "\n", 1);
    if (written != 1) spdlog::debug("nobody waits at the ready descriptor");
    close(options_.ready_fd);
  }
  if (options_.notify) options_.notify("READY=1\nSTATUS=serving");
  return {};
}

std::string Server::AdoptListener() {
  int type = 0, listening = 0;
  socklen_t size = sizeof type;
  if (getsockopt(options_.inherited_fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      type != SOCK_SEQPACKET ||
      getsockopt(options_.inherited_fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 ||
      listening == 0) {
    return "the socket that systemd has handed over is not a listening sequential-packet one; "
           "write "
           "ListenSequentialPacket= in the socket unit";
  }
  listen_fd_ = options_.inherited_fd;
  fcntl(listen_fd_, F_SETFD, FD_CLOEXEC);
  fcntl(listen_fd_, F_SETFL, fcntl(listen_fd_, F_GETFL) | O_NONBLOCK);
  return {};
}

std::string Server::OpenMetrics() {
  const auto refresh = [this] {
    for (const auto& [id, session] : core_->sessions()) core_->AskRefresh(id);
  };
  metrics_ =
      std::make_unique<MetricsEndpoint>(refresh, [this] { return MetricsText(*core_, *info_); });
  const std::string error = metrics_->Open(options_.metrics);
  if (!error.empty()) return error + "; give another --metrics";
  spdlog::info("metrics are served at {}", metrics_->address());
  Watch(metrics_->descriptor(), MakeTag(TagKind::kMetrics), EPOLLIN);
  return {};
}

// One controller a socket: the lock says who it is, whatever became of the socket file.
std::string Server::TakeLock() {
  const std::string path = options_.socket_path + ".lock";
  for (;;) {
    lock_fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock_fd_ < 0) {
      return "cannot open " + path + ": " + std::strerror(errno) + "; give another --socket";
    }
    if (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
      char holder[32] = {};
      if (pread(lock_fd_, holder, sizeof holder - 1, 0) <= 0) std::strcpy(holder, "unknown");
      return "another controller (pid " + std::string(holder) + ") serves " + options_.socket_path +
             "; stop it or give another --socket";
    }
    // The last holder removes the file as it leaves: make sure that ours is the one in place.
    struct stat locked, in_place;
    if (fstat(lock_fd_, &locked) == 0 && stat(path.c_str(), &in_place) == 0 &&
        locked.st_ino == in_place.st_ino && locked.st_dev == in_place.st_dev) {
      break;
    }
    close(lock_fd_);
  }
  const std::string pid = std::to_string(getpid());
  if (ftruncate(lock_fd_, 0) != 0 ||
      pwrite(lock_fd_, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    const int error = errno;
    unlink(path.c_str());
    return "cannot write " + path + ": " + std::strerror(error) +
           "; make room there or give another --socket";
  }
  published_ = true;
  return {};
}

std::string Server::Listen() {
  sockaddr_un address;
  const std::string& path = options_.socket_path;
  if (!FillAddress(path, &address)) {
    return path + " is longer than a socket's path may be (" +
           std::to_string(sizeof address.sun_path - 1) + " bytes); give another --socket";
  }
  struct stat status;
  if (lstat(path.c_str(), &status) == 0) {
    // We hold the lock: a socket here is one that a killed controller left.
    if (!S_ISSOCK(status.st_mode)) {
      return path + " is there and is not a socket; remove it or give another --socket";
    }
    unlink(path.c_str());
  }
  listen_fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool for_everybody = geteuid() == 0 && !options_.is_private;
  // Made closed to others, opened below: nobody connects before the mode is right.
  const mode_t old_mask = umask(0177);
  const bool bound = listen_fd_ >= 0 &&
                     bind(listen_fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  const int bind_errno = errno;
  umask(old_mask);
  if (!bound) {
    return "cannot bind " + path + ": " + std::strerror(bind_errno) + "; give another --socket";
  }
  if (for_everybody) chmod(path.c_str(), 0666);
  if (listen(listen_fd_, 128) != 0) return "cannot listen at " + path + ": " + std::strerror(errno);
  return {};
}

void Server::Unpublish() {
  if (!published_) return;
  published_ = false;
  if (listen_fd_ >= 0) unlink(options_.socket_path.c_str());
  unlink((options_.socket_path + ".lock").c_str());
  if (options_.is_private) {
    const std::size_t slash = options_.socket_path.rfind('/');
    // Only goes if nothing else is in it.
    if (slash != std::string::npos && slash != 0)
      rmdir(options_.socket_path.substr(0, slash).c_str());
  }
}

}  // namespace xsched_hsa
