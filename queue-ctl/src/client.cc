#include "queue-ctl/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>
#include <vector>

#include "queue-ctl/wire.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

std::string NoController(const std::string& path, const std::string& why) {
  return "no controller answers at " + path + " (" + why +
         "): start xsched-hsad or use 'xsched-hsa-ctl run'";
}

}  // namespace

std::optional<Client> Client::Connect(const std::string& socket_path, std::string* error) {
  sockaddr_un address;
  if (!FillAddress(socket_path, &address)) {
    *error = NoController(socket_path, "the path is longer than a socket's may be");
    return std::nullopt;
  }
  Client client(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  // A controller that hangs lets its backlog fill up; connecting would then wait for ever.
  const timeval patience{5, 0};
  if (client.fd_ >= 0) setsockopt(client.fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  if (client.fd_ < 0 ||
      connect(client.fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    *error = NoController(socket_path, std::strerror(errno));
    return std::nullopt;
  }
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(client.fd_, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
      (peer.uid != 0 && peer.uid != geteuid() && geteuid() != 0)) {
    *error = NoController(socket_path, "the listener belongs to user " + std::to_string(peer.uid));
    return std::nullopt;
  }
  return client;
}

Client::Client(Client&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Client& Client::operator=(Client&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Client::~Client() {
  if (fd_ >= 0) close(fd_);
}

std::optional<nlohmann::json> Client::Call(const nlohmann::json& request, std::string* error,
                                           int timeout_ms) {
  // A word of the command line may be any bytes; a name with a replaced character is unknown to the controller.
  const std::string text = request.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (send(fd_, text.data(), text.size(), MSG_NOSIGNAL) < 0) {
    *error = std::string("the controller has gone (") + std::strerror(errno) +
             "): start xsched-hsad and try again";
    return std::nullopt;
  }
  bool timed_out = false;
  auto reply = Receive(error, timeout_ms, &timed_out);
  if (timed_out) {
    *error = "the controller did not answer within " + std::to_string(timeout_ms) +
             " ms: is it stopped, or kept from running? When it answers again, "
             "'xsched-hsa-ctl list' shows whether it did what was asked";
  }
  return reply;
}

std::optional<nlohmann::json> Client::Next(std::string* error, int timeout_ms) {
  error->clear();
  bool timed_out = false;
  return Receive(error, timeout_ms, &timed_out);
}

std::optional<nlohmann::json> Client::Receive(std::string* error, int timeout_ms, bool* timed_out) {
  using Steady = std::chrono::steady_clock;
  const auto deadline = Steady::now() + std::chrono::milliseconds(timeout_ms);
  std::string reply;
  std::vector<char> buffer(kWireMessageMax);
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Steady::now()).count();
    pollfd ready{fd_, POLLIN, 0};
    const int wait_ms = timeout_ms < 0 ? -1 : left > 0 ? static_cast<int>(left) : 0;
    const int polled = poll(&ready, 1, wait_ms);
    if (polled < 0 && errno == EINTR) continue;
    if (polled == 0) {
      *timed_out = true;
      return std::nullopt;
    }
    const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      *error = "the controller has closed the connection";
      return std::nullopt;
    }
    reply.append(buffer.data() + 1, static_cast<std::size_t>(size) - 1);
    if (buffer[0] == '.') break;
  }
  auto parsed = nlohmann::json::parse(reply, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    *error =
        "the controller's answer is not a JSON object; are tool and controller of one release?";
    return std::nullopt;
  }
  return parsed;
}

}  // namespace xsched_hsa
