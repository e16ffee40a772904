// server_requests.cc: receiving requests, and the answers that are not ioctls.

#include <errno.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "debugfs_text.h"
#include "report.h"
#include "server.h"
#include "topology.h"

namespace virtual_gpu {
namespace {

// The header's lengths must add up to what came; nothing in the message is trusted before that.
bool Parse(std::span<const std::byte> message, Request* request) {
  if (message.size() < sizeof(rpc::RequestHeader)) return false;
  std::memcpy(&request->header, message.data(), sizeof(request->header));
  const rpc::RequestHeader& h = request->header;
  if (h.magic != rpc::kMagic || h.arg_bytes > rpc::kArgBytesMax ||
      h.payload_bytes > rpc::kMessageBytesMax ||
      sizeof(h) + h.arg_bytes + h.payload_bytes != message.size()) {
    return false;
  }
  const auto arg = message.subspan(sizeof(h), h.arg_bytes);
  const auto payload = message.subspan(sizeof(h) + h.arg_bytes);
  request->arg.assign(arg.begin(), arg.end());
  request->payload.assign(payload.begin(), payload.end());
  return true;
}

// The argument as a text, up to its first zero.
std::string_view TextOf(const Request& request) {
  const auto* text = reinterpret_cast<const char*>(request.arg.data());
  return request.arg.empty() ? std::string_view()
                             : std::string_view(text, strnlen(text, request.arg.size()));
}

}  // namespace

bool Server::ReceiveFrom(const std::shared_ptr<Connection>& connection) {
  static std::vector<std::byte> buffer(rpc::kMessageBytesMax);
  const ssize_t got = recv(connection->fd(), buffer.data(), buffer.size(), MSG_TRUNC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (got <= 0 || static_cast<std::size_t>(got) > buffer.size()) return false;
  Request request;
  request.connection = connection;
  if (!Parse(std::span(buffer).first(static_cast<std::size_t>(got)), &request)) {
    Report("pid %d sent a malformed request and is disconnected", connection->pid());
    return false;
  }
  return Dispatch(request);
}

bool Server::Dispatch(const Request& request) {
  switch (request.header.kind) {
    case rpc::Kind::kHello:
      return Hello(request);
    case rpc::Kind::kWatch:
      Watch(request);
      return true;
    case rpc::Kind::kStats:
      SendStats(request);
      return true;
    case rpc::Kind::kRefresh:
      Refresh(request);
      return true;
    case rpc::Kind::kFault:
      ArmFault(request);
      return true;
    case rpc::Kind::kShutdown:
      request.Reply(0);
      stop_ = true;
      return true;
    case rpc::Kind::kKfdIoctl:
    case rpc::Kind::kDrmInfo:
      break;
  }
  if (request.connection->process == nullptr) return false;
  if (request.connection->process->finished) return false;
  if (request.header.kind == rpc::Kind::kKfdIoctl) {
    driver_->Ioctl(request);
  } else if (request.header.kind == rpc::Kind::kDrmInfo) {
    driver_->DrmInfo(request);
  } else {
    return false;
  }
  return true;
}

rpc::HelloReply Server::Describe() const {
  rpc::HelloReply reply;
  reply.gpus = static_cast<std::uint32_t>(gpus_.size());
  reply.pid = getpid();
  reply.first_render_minor = kFirstRenderMinor;
  reply.time_scale = options_.time_scale;
  for (std::size_t i = 0; i < gpus_.size(); ++i) reply.gpu_ids[i] = gpus_[i]->gpu_id();
  std::strncpy(reply.profile, options_.model.profile.c_str(), sizeof(reply.profile) - 1);
  return reply;
}

bool Server::Hello(const Request& request) {
  const auto hello = request.Arg<rpc::Hello>();
  Connection& connection = *request.connection;
  if (hello.version != rpc::kProtocolVersion || connection.process != nullptr) return false;
  auto& slot = processes_[{connection.pid(), hello.nonce}];
  if (slot != nullptr) {  // a further connection: it has the descriptors already
    connection.process = slot;
    request.ReplyWith(0, Describe());
    return true;
  }
  slot = Process::Create(next_process_key_++, connection.pid(), hello.nonce,
                         static_cast<std::uint32_t>(gpus_.size()));
  if (slot == nullptr) {
    processes_.erase({connection.pid(), hello.nonce});
    request.Reply(ENOMEM);
    return true;
  }
  ++processes_seen_;
  connection.process = slot;
  connection.is_main = true;
  CountAsUser(&connection);
  if (slot->pid_fd >= 0) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = slot->pid_fd;
    epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, slot->pid_fd, &event);
  }
  proc_files_.AddProcess(*slot);
  std::vector<int> fds = {slot->doorbells->fd()};
  for (const auto& gpu : gpus_) fds.push_back(gpu->arena()->fd());
  std::vector<std::byte> arg(request.arg.size());
  const rpc::HelloReply reply = Describe();
  const auto bytes = std::as_bytes(std::span(&reply, 1));
  std::copy_n(bytes.begin(), std::min(arg.size(), bytes.size()), arg.begin());
  connection.Reply(0, arg, {}, fds);
  return true;
}

// Once, whatever it says first.
void Server::CountAsUser(Connection* connection) {
  if (!connection->is_user) ++users_;
  connection->is_user = true;
}

void Server::Watch(const Request& request) {
  CountAsUser(request.connection.get());
  request.ReplyWith(0, Describe());
}

void Server::ArmFault(const Request& request) {
  const std::string error = driver_->ArmFault(std::string(TextOf(request)));
  if (error.empty()) return request.Reply(0);
  // As much of it as there is room for, and a zero.
  std::vector<std::byte> line(request.arg.size());
  const auto bytes = std::as_bytes(std::span(error));
  if (!line.empty())
    std::copy_n(bytes.begin(), std::min(bytes.size(), line.size() - 1), line.begin());
  request.connection->Reply(EINVAL, line);
}

// A file whose contents are of this moment, in KFD: it is written when somebody opens it.
void Server::Refresh(const Request& request) {
  const std::string_view path = TextOf(request);
  std::error_code ignored;
  if (path.empty()) return request.Reply(EINVAL);
  constexpr std::string_view kProc = "/kfd/proc/";
  if (const std::size_t at = path.find(kProc); at != std::string_view::npos) {
    const pid_t pid = std::atoi(std::string(path.substr(at + kProc.size())).c_str());
    for (const auto& [name, process] : processes_) {
      if (process->pid == pid) proc_files_.Refresh(*process);
    }
  }
  constexpr std::string_view kDebugfs = "/debug/kfd/";
  if (const std::size_t at = path.find(kDebugfs); at != std::string_view::npos) {
    const std::string file(path.substr(at + kDebugfs.size()));
    const KfdView view = {&gpus_, &processes_};
    if (file == "hqds") proc_files_.WriteDebugfs(file, HqdsText(view));
    if (file == "mqds") proc_files_.WriteDebugfs(file, MqdsText(view));
    if (file == "rls") proc_files_.WriteDebugfs(file, RunlistsText(view));
  }
  const bool exists =
      std::filesystem::exists(options_.directory / rpc::kRootName / path.substr(1), ignored);
  if (!exists && path.find(kProc) == std::string_view::npos) {
    const std::string name(path);
    ReportOnce("file:" + name, "file " + name + " is not modelled; opening it fails with ENOENT");
    if (options_.strict) StrictAbort();
  }
  request.Reply(0);
}

void Server::SendStats(const Request& request) {
  const std::string text = StatsJson(request.header.number != 0);
  const int fd = memfd_create("virtual-gpu-stats", MFD_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    if (fd >= 0) close(fd);
    return request.Reply(ENOMEM);
  }
  const int fds[] = {fd};
  request.connection->Reply(0, request.arg, {}, fds);
  close(fd);
}

}  // namespace virtual_gpu
