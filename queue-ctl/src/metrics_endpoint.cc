#include "metrics_endpoint.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "socket_path.h"

namespace xsched_hsa {
namespace {

// What events name beside peers.
constexpr std::uint64_t kListener = ~std::uint64_t{0}, kTimer = kListener - 1;

std::string Refusal(const std::string& address, const std::string& why) {
  return "cannot serve metrics at " + address + ": " + why;
}

std::string Response(const char* status, const std::string& body) {
  return std::string("HTTP/1.1 ") + status +
         "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

}  // namespace

MetricsEndpoint::~MetricsEndpoint() {
  for (const Peer& peer : peers_) close(peer.fd);
  if (!unix_path_.empty()) unlink(unix_path_.c_str());
  for (const int fd : {listen_fd_, timer_fd_, epoll_fd_}) {
    if (fd >= 0) close(fd);
  }
}

std::string MetricsEndpoint::Open(const std::string& address) {
  address_ = address;
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if (epoll_fd_ < 0 || timer_fd_ < 0) return Refusal(address, std::strerror(errno));
  std::string error;
  if (address.rfind("unix:", 0) == 0) {
    error = ListenUnix(address.substr(5));
  } else {
    const std::size_t colon = address.rfind(':');
    if (colon == std::string::npos) {
      return Refusal(address, "use unix:/path, 127.0.0.1:PORT or [::1]:PORT");
    }
    error = ListenLoopback(address.substr(0, colon), address.substr(colon + 1));
  }
  if (!error.empty()) return Refusal(address, error);
  if (listen_fd_ < 0 || listen(listen_fd_, 16) != 0) return Refusal(address, std::strerror(errno));
  spare_.Open();
  Watch(listen_fd_, kListener, EPOLLIN, true);
  Watch(timer_fd_, kTimer, EPOLLIN, true);
  return {};
}

std::string MetricsEndpoint::ListenUnix(const std::string& path) {
  sockaddr_un name;
  if (path.empty() || path[0] != '/' || !FillAddress(path, &name)) {
    return "the socket needs an absolute path of at most 107 bytes";
  }
  struct stat status;
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) return path + " is there and is not a socket";
    unlink(path.c_str());
  }
  listen_fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const mode_t old_mask = umask(0117);
  const bool bound =
      listen_fd_ >= 0 && bind(listen_fd_, reinterpret_cast<sockaddr*>(&name), sizeof name) == 0;
  const int bind_errno = errno;
  umask(old_mask);
  if (!bound) return std::strerror(bind_errno);
  unix_path_ = path;
  return {};
}

std::string MetricsEndpoint::ListenLoopback(const std::string& host, const std::string& port) {
  std::uint16_t number = 0;
  const auto [end, code] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (code != std::errc() || end != port.data() + port.size()) {
    return "'" + port + "' is no port; use 0..65535";
  }
  const bool v6 = host == "[::1]";
  if (!v6 && host != "127.0.0.1" && host != "localhost") {
    return "only loopback is served: 127.0.0.1, [::1] or localhost; put a proxy before it";
  }
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (v6) {
    auto* const name = reinterpret_cast<sockaddr_in6*>(&storage);
    *name = {AF_INET6, htons(number), 0, in6addr_loopback, 0};
    size = sizeof *name;
  } else {
    auto* const name = reinterpret_cast<sockaddr_in*>(&storage);
    name->sin_family = AF_INET;
    name->sin_port = htons(number);
    name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size = sizeof *name;
  }
  listen_fd_ = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int yes = 1;
  setsockopt(listen_fd_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  auto* const name = reinterpret_cast<sockaddr*>(&storage);
  if (listen_fd_ < 0 || bind(listen_fd_, name, size) != 0) return std::strerror(errno);
  getsockname(listen_fd_, name, &size);
  const std::uint16_t bound = v6 ? reinterpret_cast<sockaddr_in6*>(&storage)->sin6_port
                                 : reinterpret_cast<sockaddr_in*>(&storage)->sin_port;
  address_ = (v6 ? "[::1]:" : "127.0.0.1:") + std::to_string(ntohs(bound));
  return {};
}

void MetricsEndpoint::OnReady() {
  std::array<epoll_event, 8> events;
  const int count = epoll_wait(epoll_fd_, events.data(), events.size(), 0);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t id = events[i].data.u64;
    if (id == kListener) {
      Accept();
    } else if (id == kTimer) {
      Answer();
    } else {
      for (auto peer = peers_.begin(); peer != peers_.end(); ++peer) {
        if (peer->id != id) continue;
        if (!OnPeer(&*peer, events[i].events)) {
          close(peer->fd);
          peers_.erase(peer);
        }
        break;
      }
    }
  }
}

void MetricsEndpoint::Accept() {
  const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    // Scrapers come every few seconds: told once until one gets in again.
    if (spare_.Refuse(listen_fd_) && !std::exchange(told_, true))
      spdlog::warn(
          "metrics: no descriptors left: scrapes get no answer; raise the limit (LimitNOFILE= of "
          "the unit, ulimit -n)");
    return;
  }
  told_ = false;
  if (peers_.size() >= kMetricsPeersMax) {
    close(peers_.front().fd);
    peers_.pop_front();
  }
  peers_.push_back({fd, next_id_++, "", "", false});
  Watch(fd, peers_.back().id, EPOLLIN | EPOLLRDHUP, true);
}

bool MetricsEndpoint::OnPeer(Peer* peer, std::uint32_t events) {
  if ((events & (EPOLLERR | EPOLLHUP)) != 0) return false;
  if ((events & EPOLLOUT) != 0) return Write(peer);
  return (events & EPOLLIN) != 0 ? Read(peer) : false;
}

bool MetricsEndpoint::Read(Peer* peer) {
  char buffer[1024];
  const ssize_t size = recv(peer->fd, buffer, sizeof buffer, 0);
  if (size == 0 && peer->waits) {  // it has said all it has to say; only its end is news now
    Watch(peer->fd, peer->id, 0, false);
    return true;
  }
  if (size == 0 && !peer->out.empty()) return true;  // an event of before the answer
  if (size <= 0) return size < 0 && (errno == EAGAIN || errno == EINTR);
  if (peer->waits || !peer->out.empty()) return true;  // one question a connection
  peer->in.append(buffer, static_cast<std::size_t>(size));
  if (peer->in.find("\r\n\r\n") == std::string::npos &&
      peer->in.find("\n\n") == std::string::npos) {
    if (peer->in.size() <= kMetricsRequestMax) return true;
    peer->out = Response("431 Request Header Fields Too Large", "too long\n");
  } else if (peer->in.rfind("GET /metrics ", 0) == 0) {
    // Whoever comes meanwhile gets the same answer: questions without end wake nobody's program more often, and
    // do not put the answer off.
    const bool asked =
        std::any_of(peers_.begin(), peers_.end(), [](const Peer& p) { return p.waits; });
    peer->waits = true;
    if (asked) return true;
    refresh_();
    const itimerspec soon{{}, {0, refresh_ns_}};
    timerfd_settime(timer_fd_, 0, &soon, nullptr);
    return true;
  } else if (peer->in.rfind("GET ", 0) == 0) {
    peer->out = Response("404 Not Found", "the metrics are at /metrics\n");
  } else {
    peer->out = Response("405 Method Not Allowed", "GET /metrics\n");
  }
  return Write(peer);
}

void MetricsEndpoint::Answer() {
  std::uint64_t expirations = 0;
  if (read(timer_fd_, &expirations, sizeof expirations) < 0) return;
  const std::string response = Response("200 OK", text_());
  for (auto peer = peers_.begin(); peer != peers_.end();) {
    bool keep = true;
    if (peer->waits) {
      peer->waits = false;
      peer->out = response;
      keep = Write(&*peer);
    }
    if (!keep) close(peer->fd);
    peer = keep ? peer + 1 : peers_.erase(peer);
  }
}

bool MetricsEndpoint::Write(Peer* peer) {
  while (!peer->out.empty()) {
    const ssize_t size = send(peer->fd, peer->out.data(), peer->out.size(), MSG_NOSIGNAL);
    if (size < 0 && errno == EAGAIN) {
      Watch(peer->fd, peer->id, EPOLLOUT, false);
      return true;
    }
    if (size < 0) return false;
    peer->out.erase(0, static_cast<std::size_t>(size));
  }
  return false;  // all said: Connection: close
}

void MetricsEndpoint::Watch(int fd, std::uint64_t id, std::uint32_t events, bool is_new) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (epoll_ctl(epoll_fd_, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) != 0) {
    spdlog::error("metrics: can't listen to descriptor {}: {}; this scrape gets no answer", fd,
                  std::strerror(errno));
  }
}

}  // namespace xsched_hsa
