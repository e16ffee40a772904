// server.h: xsched-hsad's sockets, descriptors and its one event loop over Core.
//
// Why        Everything with a descriptor is here and nothing that decides.
// Threads    one: Run() does all. It sleeps without a timer while nothing is leased, awaited or due.
// Ownership  the socket file and its lock (not one that systemd made), connections, pages, eventfds.
// Errors     Open returns one line for the user; Run logs and goes on. A bad peer is disconnected.
// Limits     kConnectionsPerUserMax connections a user. One request at a time per connection: no more
//            is read before the reply has gone. A follower that does not read loses events, a user that
//            lets replies pile up loses connections. What programs cause in the log is bounded.
// Trust      an eventfd is shared with its program, which could make it blocking: it is never read,
//            only watched edge-triggered.
// See        wire.h, client.h; queue-ctl/tests/daemon_test.cc
#pragma once

#include <sys/socket.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core.h"
#include "log_budget.h"
#include "metrics_endpoint.h"
#include "queue-ctl/wire.h"
#include "requests.h"
#include "shared_memory.h"
#include "spare_descriptor.h"

namespace xsched_hsa {

inline constexpr std::size_t kConnectionsPerUserMax = 512;
inline constexpr std::size_t kUnreadPerUserMax = 16u << 20;  // bytes of replies that nobody reads
inline constexpr std::uint64_t kRepliesTurnUs =
    5000;  // building replies; the rest of them next turn
inline constexpr std::size_t kFollowerEventsMax = 256;  // wait for a slow reader; more are lost

struct ServerOptions {
  std::string socket_path;
  bool is_private = false;                  // only our own user, and the directory goes with us
  std::optional<double> exit_when_idle_s;   // leave after so long without any connection
  std::string metrics;                      // where to serve them (metrics_endpoint.h); empty: not
  int ready_fd = -1;                        // gets one byte when the socket answers
  int inherited_fd = -1;                    // a listening socket that systemd made
  std::function<void(const char*)> notify;  // tells systemd a state
};

class Server {
 public:
  Server(const ServerOptions& options, Core* core, ControllerInfo* info,
         Configuration* configuration, Events* events);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Empty: listening. Otherwise why not; nothing is left behind then.
  std::string Open();
  // Until SIGTERM, SIGINT or idleness. Opens every gate before it returns.
  void Run();

 private:
  struct Connection {
    int fd = -1;
    ucred peer{};
    bool greeted = false;  // has sent its first message
    bool is_layer = false;
    std::uint32_t session = 0;  // layer
    int notes_left = 32;        // layer: further notes are dropped
    std::optional<PendingReply> pending;
    std::deque<std::string> out;
    std::size_t out_bytes = 0;
    std::uint32_t interest = 0;
    bool following = false;  // tool: gets events
    std::uint64_t lost = 0;  // events that it was too slow for, not told yet
  };
  struct SessionIo {
    std::unique_ptr<SharedMemory> page;
    int event_fd = -1;
  };

  std::string TakeLock();
  std::string Listen();
  std::string AdoptListener();
  std::string OpenMetrics();
  void Accept();
  bool MayConnect(const ucred& peer, std::string* why) const;
  void OnConnection(std::uint32_t id, std::uint32_t events);
  bool ReadMessage(Connection& connection);
  bool OnLayerMessage(Connection& connection, std::span<const std::byte> message);
  bool Greet(Connection& connection, std::span<const std::byte> message);
  bool SendWelcome(Connection& connection, const WelcomeMessage& welcome, const SessionIo& io,
                   const SharedMemory& user_page);
  void Refuse(const Connection& connection, const std::string& why);
  SharedMemory* UserPageOf(std::uint32_t uid);
  void OnToolMessage(Connection& connection, std::span<const std::byte> message);
  void FinishPending();
  bool MayReply(const Connection& connection) const;
  bool MaySay();
  void OnSignal();
  void DeliverEvents();
  void Deliver(Connection& connection, const Event& event);
  void Reply(Connection& connection, const std::string& text);
  bool Flush(Connection& connection);
  void UpdateInterest(std::uint32_t id, Connection& connection);
  void Close(std::uint32_t id);
  void DropSession(std::uint32_t session);
  void ArmTimer();
  void OnTraceTimer();
  void OnTimer();
  void RenewInTime();
  void NoteIdleness();
  void Watch(int fd, std::uint64_t tag, std::uint32_t events);
  void Unpublish();

  const ServerOptions options_;
  Core* const core_;
  ControllerInfo* const info_;
  Configuration* const configuration_;
  Events* const events_;
  Requests requests_;
  int lock_fd_ = -1, listen_fd_ = -1, epoll_fd_ = -1, timer_fd_ = -1, signal_fd_ = -1,
      trace_fd_ = -1;
  SpareDescriptor spare_;
  std::unique_ptr<MetricsEndpoint> metrics_;
  bool trace_ticks_ = false;  // the trace timer is set
  bool stop_ = false, published_ = false;
  std::map<std::uint32_t, Connection> connections_;
  std::map<std::uint32_t, SessionIo> sessions_;
  std::map<std::uint32_t, std::unique_ptr<SharedMemory>> user_pages_;
  std::uint32_t last_connection_ = 0;
  std::uint32_t last_answered_ = 0;  // the connection that got the last pending reply
  LogBudget log_budget_;
  std::optional<std::uint64_t> idle_since_us_;
  std::optional<std::uint64_t> timer_due_us_;  // as set in the timerfd
};

}  // namespace xsched_hsa
