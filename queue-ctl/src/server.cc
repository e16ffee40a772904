// server.cc: the event loop, connections and their messages. Setting up and tearing down the socket
// file is in server_setup.cc.
#include "server.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "server_tags.h"
#include "wire_codec.h"

namespace xsched_hsa {
namespace {

constexpr std::uint64_t kRefreshPollUs = 500;  // layers have no way to say "refreshed"

}  // namespace

void Server::Run() {
  std::array<epoll_event, 64> events;
  NoteIdleness();
  while (!stop_) {
    ArmTimer();
    const int count = epoll_wait(epoll_fd_, events.data(), events.size(), -1);
    if (count < 0 && errno != EINTR) {
      spdlog::error("can't wait for events: {}; leaving, programs pass freely",
                    std::strerror(errno));
      break;
    }
    // Layers first: an opened gate must not wait for somebody's list.
    for (int i = 0; i < count; ++i) {
      const auto [kind, id] = SplitTag(events[i].data.u64);
      if (kind != TagKind::kSession) continue;
      core_->OnLayerEvent(id);
      RenewInTime();
    }
    for (int i = 0; i < count; ++i) {
      const auto [kind, id] = SplitTag(events[i].data.u64);
      if (kind == TagKind::kListener) Accept();
      if (kind == TagKind::kTimer) OnTimer();
      if (kind == TagKind::kTraceTimer) OnTraceTimer();
      if (kind == TagKind::kMetrics) metrics_->OnReady();
      if (kind == TagKind::kConnection) OnConnection(id, events[i].events);
      if (kind == TagKind::kSignal) OnSignal();
      RenewInTime();
    }
    FinishPending();
    DeliverEvents();
    NoteIdleness();
  }
  if (options_.notify) options_.notify("STOPPING=1");
  spdlog::info("leaving: opening every gate of {} programs", sessions_.size());
  core_->Shutdown();
  Unpublish();
}

// ----------------------------------------------------------------------------------------
// connections

bool Server::MayConnect(const ucred& peer, std::string* why) const {
  const bool own = peer.uid == geteuid() || peer.uid == 0;
  if ((options_.is_private || geteuid() != 0) && !own) {
    *why = "this controller serves user " + std::to_string(geteuid()) +
           " and root; one that serves all runs as root";
    return false;
  }
  const auto same_user =
      std::count_if(connections_.begin(), connections_.end(),
                    [&](const auto& c) { return c.second.peer.uid == peer.uid; });
  *why = "that user has " + std::to_string(same_user) +
         " connections already, which is the most: end some programs or tools";
  return static_cast<std::size_t>(same_user) < kConnectionsPerUserMax;
}

void Server::Accept() {
  const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    if (spare_.Refuse(listen_fd_) && MaySay())
      spdlog::warn(
          "no descriptors left: a connection was refused; raise the limit (LimitNOFILE= of the "
          "unit, ulimit -n)");
    return;
  }
  Connection connection;
  connection.fd = fd;
  socklen_t size = sizeof connection.peer;
  std::string why = "the kernel does not say who it is";
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &connection.peer, &size) != 0 ||
      !MayConnect(connection.peer, &why)) {
    if (MaySay()) {
      spdlog::warn("pid {} of user {}: connection refused: {}", connection.peer.pid,
                   connection.peer.uid, why);
    }
    close(fd);
    return;
  }
  do {
    ++last_connection_;
  } while (connections_.count(last_connection_) != 0);
  connection.interest = EPOLLIN | EPOLLRDHUP;
  Watch(fd, MakeTag(TagKind::kConnection, last_connection_), connection.interest);
  connections_.emplace(last_connection_, std::move(connection));
}

void Server::OnConnection(std::uint32_t id, std::uint32_t events) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;  // closed earlier in this turn
  Connection& connection = it->second;
  bool keep = (events & EPOLLERR) == 0;
  if (keep && (events & EPOLLOUT) != 0) keep = Flush(connection);
  // What was sent before a hang-up is still read: a last note, say.
  if (keep && (events & EPOLLIN) != 0) {
    keep = ReadMessage(connection);
  } else if ((events & (EPOLLHUP | EPOLLRDHUP)) != 0) {
    keep = false;
  }
  if (!keep) {
    Close(id);
    return;
  }
  UpdateInterest(id, connection);
}

bool Server::ReadMessage(Connection& connection) {
  static std::array<std::byte, kWireMessageMax> buffer;
  // recv, not recvmsg: descriptors that somebody sends along are dropped by the kernel.
  const ssize_t size = recv(connection.fd, buffer.data(), buffer.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size == 0) return false;
  if (static_cast<std::size_t>(size) > buffer.size()) {
    if (MaySay())
      spdlog::warn(
          "pid {} of user {} sent a message of {} bytes, at most {} are read; disconnected",
          connection.peer.pid, connection.peer.uid, size, buffer.size());
    return false;
  }
  const std::span<const std::byte> message(buffer.data(), static_cast<std::size_t>(size));
  const MessageKind kind = ClassifyMessage(message);
  if (!connection.greeted) {
    connection.greeted = true;
    connection.is_layer = kind != MessageKind::kTool;
  }
  if (connection.is_layer) return OnLayerMessage(connection, message);
  if (kind != MessageKind::kTool) return false;
  if (!MayReply(connection)) return false;
  OnToolMessage(connection, message);
  return true;
}

void Server::UpdateInterest(std::uint32_t id, Connection& connection) {
  std::uint32_t interest = EPOLLRDHUP;
  if (!connection.out.empty()) interest |= EPOLLOUT;
  if (connection.out.empty() && !connection.pending) interest |= EPOLLIN;
  if (interest == connection.interest) return;
  connection.interest = interest;
  epoll_event event{};
  event.events = interest;
  event.data.u64 = MakeTag(TagKind::kConnection, id);
  epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd, &event);
}

void Server::Close(std::uint32_t id) {
  const auto it = connections_.find(id);
  if (it == connections_.end()) return;
  const std::uint32_t session = it->second.session;
  close(it->second.fd);
  connections_.erase(it);
  if (session != 0) DropSession(session);
}

// --------------------------------------------------------------------------------------------
// layers

bool Server::OnLayerMessage(Connection& connection, std::span<const std::byte> message) {
  if (connection.session == 0) return Greet(connection, message);
  const auto note = ParseNote(message);
  if (!note) {
    if (MaySay())
      spdlog::warn(
          "pid {} sent a message that no layer of this release sends; disconnected, it runs "
          "unscheduled until it joins again",
          connection.peer.pid);
    return false;
  }
  if (connection.notes_left > 0) {
    if (MaySay()) spdlog::info("pid {} says: {}", connection.peer.pid, *note);
    if (--connection.notes_left == 0 && MaySay())
      spdlog::info("pid {}: what else it says is not logged", connection.peer.pid);
  }
  return true;
}

bool Server::Greet(Connection& connection, std::span<const std::byte> message) {
  std::string why;
  auto layer = ParseHello(message, &why);
  if (!layer) {
    Refuse(connection, why);
    return false;
  }
  layer->pid = connection.peer.pid;
  layer->uid = connection.peer.uid;
  layer->gid = connection.peer.gid;
  SharedMemory* const user_page = UserPageOf(layer->uid);
  SessionIo io;
  io.page = SharedMemory::Make("xsched-hsa-process", sizeof(ProcessPage));
  io.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  const int error = errno;
  const bool has_pages = user_page != nullptr && io.page != nullptr && io.event_fd >= 0;
  std::uint32_t session = 0;
  if (has_pages) {
    session = core_->AddSession(*layer, static_cast<ProcessPage*>(io.page->data()),
                                static_cast<UserPage*>(user_page->data()));
  }
  if (session == 0) {
    if (io.event_fd >= 0) close(io.event_fd);
    if (!core_->HasUser(layer->uid)) user_pages_.erase(layer->uid);
    const std::string sessions = " (" + std::to_string(core_->sessions().size()) + " sessions)";
    Refuse(connection,
           has_pages
               ? "the controller has no room for another program" + sessions + "; it passes freely"
               : std::string("the controller has no pages for another program: ") +
                     std::strerror(error) + sessions + "; raise its limits (ulimit -n)");
    return false;
  }
  connection.session = session;
  Watch(io.event_fd, MakeTag(TagKind::kSession, session), EPOLLIN | EPOLLET);
  const SessionIo& kept = sessions_.emplace(session, std::move(io)).first->second;
  if (MaySay())
    spdlog::info("pid {} ({}) of user {} has joined with priority {}, session {}", layer->pid,
                 layer->comm, layer->uid, layer->priority, session);
  const Rule* const rule =
      configuration_ != nullptr ? configuration_->Classify(core_, session) : nullptr;
  if (rule != nullptr && MaySay()) LogRule(session, *layer, *rule);
  if (!SendWelcome(connection, MakeWelcome(session, connection.peer.pid), kept, *user_page))
    return false;
  kept.page->CloseFd();
  return true;
}

bool Server::SendWelcome(Connection& connection, const WelcomeMessage& welcome, const SessionIo& io,
                         const SharedMemory& user_page) {
  const int fds[3] = {io.page->fd(), user_page.fd(), io.event_fd};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  iovec data{const_cast<WelcomeMessage*>(&welcome), sizeof welcome};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fds);
  std::memcpy(CMSG_DATA(header), fds, sizeof fds);
  return sendmsg(connection.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(sizeof welcome);
}

void Server::Refuse(const Connection& connection, const std::string& why) {
  if (MaySay()) {
    spdlog::warn("pid {} of user {} is refused and runs unscheduled: {}", connection.peer.pid,
                 connection.peer.uid, why);
  }
  const WelcomeMessage refusal = MakeRefusal(why);
  send(connection.fd, &refusal, sizeof refusal, MSG_NOSIGNAL | MSG_DONTWAIT);
}

SharedMemory* Server::UserPageOf(std::uint32_t uid) {
  std::unique_ptr<SharedMemory>& page = user_pages_[uid];
  if (page == nullptr) {
    page = SharedMemory::Make("xsched-hsa-user", sizeof(UserPage));
    if (page == nullptr) {
      user_pages_.erase(uid);
      return nullptr;
    }
    Core::InitUserPage(static_cast<UserPage*>(page->data()), uid);
  }
  return page.get();
}

void Server::DropSession(std::uint32_t session) {
  const auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  const std::uint32_t uid = core_->sessions().at(session)->layer.uid;
  const std::int32_t pid = core_->sessions().at(session)->layer.pid;
  const std::string comm = core_->sessions().at(session)->layer.comm;
  core_->EndSession(session);
  // Our descriptor is not the last one of the eventfd: leave the epoll set by hand.
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, it->second.event_fd, nullptr);
  close(it->second.event_fd);
  sessions_.erase(it);
  if (!core_->HasUser(uid)) user_pages_.erase(uid);
  if (MaySay()) spdlog::info("pid {} ({}) has left, session {}", pid, comm, session);
}

// ---------------------------------------------------------------------------------------------
// tools

void Server::OnToolMessage(Connection& connection, std::span<const std::byte> message) {
  const std::uint32_t uid = connection.peer.uid;
  const Caller caller{uid, uid == 0 || uid == geteuid()};
  const std::string text(reinterpret_cast<const char*>(message.data()), message.size());
  PendingReply pending;
  if (const auto reply = requests_.Handle(text, caller, &pending)) {
    Reply(connection, *reply);
    connection.following = connection.following || pending.follow;
  } else {
    connection.pending = std::move(pending);
  }
}

// A user whose replies pile up unread gets no more of them.
bool Server::MayReply(const Connection& connection) const {
  std::size_t unread = 0;
  for (const auto& [id, other] : connections_) {
    if (other.peer.uid == connection.peer.uid) unread += other.out_bytes;
  }
  return unread <= kUnreadPerUserMax;
}

bool Server::MaySay() {
  std::uint64_t left_out = 0;
  const bool may = log_budget_.Take(core_->clock().NowUs(), &left_out);
  if (left_out != 0) {
    spdlog::warn("{} lines about programs were left out: more than {} came in a second", left_out,
                 kLogLinesPerSecond);
  }
  return may;
}

// Leases are renewed between turns: many long replies must not come in one. Whoever comes after the last one that was
// answered is the first of the next turn: who asks again and again keeps nobody waiting.
void Server::FinishPending() {
  const std::uint64_t now_us = core_->clock().NowUs();
  std::vector<std::uint32_t> close;
  auto next = connections_.upper_bound(last_answered_);
  for (std::size_t left = connections_.size(); left > 0; --left) {
    if (next == connections_.end()) next = connections_.begin();
    auto& [id, connection] = *next++;
    if (!connection.pending) continue;
    const bool late = now_us >= connection.pending->deadline_us;
    if (!late && !requests_.IsReady(*connection.pending)) continue;
    if (core_->clock().NowUs() - now_us > kRepliesTurnUs) break;
    if (!MayReply(connection)) {
      close.push_back(id);
      continue;
    }
    last_answered_ = id;
    const std::string reply = requests_.Finish(*connection.pending);
    connection.pending.reset();
    Reply(connection, reply);
    UpdateInterest(id, connection);
  }
  for (const std::uint32_t id : close) Close(id);
}

// SIGHUP: the configuration anew; the others: leave.
void Server::OnSignal() {
  signalfd_siginfo signal{};
  while (read(signal_fd_, &signal, sizeof signal) == sizeof signal) {
    if (signal.ssi_signo != SIGHUP) {
      stop_ = true;
      continue;
    }
    if (configuration_ == nullptr) continue;
    if (options_.notify) options_.notify("RELOADING=1");
    const std::vector<std::string> errors = configuration_->Reload(core_);
    for (const std::string& error : errors) spdlog::error("reload: {}", error);
    if (!errors.empty()) {
      spdlog::error("the old configuration stays: put it right and reload again");
      events_->Add("error", {{"text", "reload: " + errors.front()}});
    } else {
      const Config& config = configuration_->config();
      spdlog::info("configuration reloaded: policy {}, {} rules", config.policy.name,
                   config.rules.size());
      events_->Add("reload", {{"files", configuration_->config().files}});
    }
    if (options_.notify) options_.notify("READY=1");
  }
}

void Server::DeliverEvents() {
  if (events_ == nullptr) return;
  std::uint64_t lost = 0;
  const std::vector<Event> events = events_->Take(&lost);
  bool followed = false;
  for (auto& [id, connection] : connections_) {
    if (!connection.following) continue;
    followed = true;
    connection.lost += lost;
    for (const Event& event : events) Deliver(connection, event);
    UpdateInterest(id, connection);
  }
  events_->SetFollowed(followed);
}

void Server::Deliver(Connection& connection, const Event& event) {
  const std::uint32_t uid = connection.peer.uid;
  if (event.uid && *event.uid != uid && uid != 0 && uid != geteuid()) return;
  if (connection.out.size() >= kFollowerEventsMax) {
    ++connection.lost;
    return;
  }
  if (connection.lost != 0) {
    Reply(connection, nlohmann::json({{"event", "lost"}, {"events", connection.lost}}).dump());
    connection.lost = 0;
  }
  Reply(connection, event.body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void Server::Reply(Connection& connection, const std::string& text) {
  for (std::string& message : SplitReply(text)) {
    connection.out_bytes += message.size();
    connection.out.push_back(std::move(message));
  }
  // A failure shows as a hang-up in the next turn.
  Flush(connection);
}

bool Server::Flush(Connection& connection) {
  while (!connection.out.empty()) {
    const std::string& message = connection.out.front();
    if (send(connection.fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
      return errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
    }
    connection.out_bytes -= message.size();
    connection.out.pop_front();
  }
  return true;
}

// ----------------------------------------------------------------------------------------------
// time

void Server::NoteIdleness() {
  if (!options_.exit_when_idle_s) return;
  if (!connections_.empty()) {
    idle_since_us_.reset();
  } else if (!idle_since_us_) {
    idle_since_us_ = core_->clock().NowUs();
  }
}

void Server::ArmTimer() {
  std::optional<std::uint64_t> due_us = core_->NextDueUs();
  if (trace_ticks_ != requests_.recorder()->recording()) {
    trace_ticks_ = !trace_ticks_;
    const timespec tick{0, trace_ticks_ ? static_cast<long>(kTraceTickUs * 1000) : 0};
    const itimerspec ticks{tick, tick};
    timerfd_settime(trace_fd_, 0, &ticks, nullptr);
  }
  const auto consider = [&due_us](std::uint64_t at_us) {
    due_us = std::min(due_us.value_or(at_us), at_us);
  };
  const std::uint64_t now_us = core_->clock().NowUs();
  for (const auto& [id, connection] : connections_) {
    if (connection.pending)
      consider(std::min(now_us + kRefreshPollUs, connection.pending->deadline_us));
  }
  if (idle_since_us_ && options_.exit_when_idle_s) {
    consider(*idle_since_us_ + static_cast<std::uint64_t>(*options_.exit_when_idle_s * 1e6));
  }
  if (due_us == timer_due_us_) return;
  timer_due_us_ = due_us;
  itimerspec when{};  // all zero: off
  if (due_us) {
    when.it_value.tv_sec = static_cast<time_t>(*due_us / 1'000'000);
    when.it_value.tv_nsec = static_cast<long>(*due_us % 1'000'000 * 1'000) | 1;
  }
  timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &when, nullptr);
}

// Ticks only while somebody records.
void Server::OnTraceTimer() {
  std::uint64_t expirations = 0;
  if (read(trace_fd_, &expirations, sizeof expirations) < 0) return;
  requests_.recorder()->Tick();
}

// One turn may bring a decision for each of dozens of programs, and leases are shorter than that.
void Server::RenewInTime() {
  const std::optional<std::uint64_t> due_us = core_->NextDueUs();
  if (due_us && core_->clock().NowUs() >= *due_us) core_->OnTimer();
}

void Server::OnTimer() {
  std::uint64_t expirations = 0;
  if (read(timer_fd_, &expirations, sizeof expirations) < 0) return;
  timer_due_us_.reset();
  core_->OnTimer();
  if (idle_since_us_ && options_.exit_when_idle_s &&
      core_->clock().NowUs() - *idle_since_us_ >=
          static_cast<std::uint64_t>(*options_.exit_when_idle_s * 1e6)) {
    spdlog::info("no program has been connected for {} s: leaving", *options_.exit_when_idle_s);
    stop_ = true;
  }
}

void Server::Watch(int fd, std::uint64_t tag, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    spdlog::error(
        "can't listen to descriptor {}: {}; who is behind it gets no answer: restart the "
        "controller, "
        "programs pass freely meanwhile",
        fd, std::strerror(errno));
  }
}

}  // namespace xsched_hsa
