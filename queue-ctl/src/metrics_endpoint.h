// metrics_endpoint.h: answers "GET /metrics" on a Unix socket or a loopback port.
//
// Why        Prometheus comes for the numbers. It asks seldom and reads little: the controller's own
//            loop serves it, so that no second thread has to see the state.
// Threads    the controller's thread. descriptor() becomes readable when OnReady has something to do.
// Ownership  its sockets; a socket file is removed in the end.
// Errors     Open returns one line. A peer that says nothing, or anything but a request for the
//            metrics, is answered with a status or dropped; nobody else waits for it.
// Limits     kMetricsPeersMax connections (a further one replaces the oldest), kMetricsRequestMax bytes.
//            No TLS and no password: loopback only, and a Unix socket of mode 0660.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "spare_descriptor.h"

namespace xsched_hsa {

inline constexpr std::size_t kMetricsPeersMax = 16;
inline constexpr std::size_t kMetricsRequestMax = 4096;
// Between the question and the answer, for layers to renew what they show.
inline constexpr long kMetricsRefreshNs = 5'000'000;

class MetricsEndpoint {
 public:
  // `refresh` asks the layers for fresh numbers, `text` gives them `refresh_ns` later.
  MetricsEndpoint(std::function<void()> refresh, std::function<std::string()> text,
                  long refresh_ns = kMetricsRefreshNs)
      : refresh_(std::move(refresh)), text_(std::move(text)), refresh_ns_(refresh_ns) {}
  ~MetricsEndpoint();
  MetricsEndpoint(const MetricsEndpoint&) = delete;
  MetricsEndpoint& operator=(const MetricsEndpoint&) = delete;

  // "unix:/path", "127.0.0.1:PORT", "[::1]:PORT" or "localhost:PORT"; port 0: any, see address().
  std::string Open(const std::string& address);
  const std::string& address() const { return address_; }
  int descriptor() const { return epoll_fd_; }
  void OnReady();

 private:
  struct Peer {
    int fd = -1;
    std::uint64_t id = 0;
    std::string in, out;
    bool waits = false;  // for the refresh
  };

  std::string ListenUnix(const std::string& path);
  std::string ListenLoopback(const std::string& host, const std::string& port);
  void Accept();
  // False: the peer goes.
  bool OnPeer(Peer* peer, std::uint32_t events);
  bool Read(Peer* peer);
  bool Write(Peer* peer);
  void Answer();
  void Watch(int fd, std::uint64_t id, std::uint32_t events, bool is_new);

  const std::function<void()> refresh_;
  const std::function<std::string()> text_;
  const long refresh_ns_;
  std::string address_, unix_path_;
  int epoll_fd_ = -1, listen_fd_ = -1, timer_fd_ = -1;
  SpareDescriptor spare_;
  bool told_ = false;       // that there are no descriptors
  std::deque<Peer> peers_;  // oldest first
  // Of the next peer. An event names its peer by this: the number of one that ended a moment ago may be another's.
  std::uint64_t next_id_ = 1;
};

}  // namespace xsched_hsa
