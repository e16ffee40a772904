#include "control_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <utility>

namespace dual_model {

ControlChannel::~ControlChannel() {
  if (fd_ >= 0) close(fd_);
}

ControlChannel::ControlChannel(ControlChannel&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), received_(std::move(other.received_)) {}

ControlChannel& ControlChannel::operator=(ControlChannel&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(received_, other.received_);
  return *this;
}

bool ControlChannel::Send(const std::string& line) {
  if (fd_ < 0) return false;
  std::string message = line.substr(0, kLineMax - 1) + "\n";
  std::size_t sent = 0;
  while (sent < message.size()) {
    const ssize_t n = send(fd_, message.data() + sent, message.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    sent += static_cast<std::size_t>(n);
  }
  return true;
}

ChannelStatus ControlChannel::Receive(int timeout_ms, std::string* line) {
  if (fd_ < 0) return ChannelStatus::kClosed;
  for (;;) {
    const std::size_t newline = received_.find('\n');
    if (newline != std::string::npos) {
      *line = received_.substr(0, newline);
      received_.erase(0, newline + 1);
      return ChannelStatus::kLine;
    }
    if (received_.size() > kLineMax) return ChannelStatus::kClosed;
    pollfd descriptor = {fd_, POLLIN, 0};
    const int ready = poll(&descriptor, 1, timeout_ms);
    if (ready == 0) return ChannelStatus::kTimeout;
    if (ready < 0 && errno != EINTR) return ChannelStatus::kClosed;
    if (ready < 0) {
      // A signal: whoever waits decides what it means. Never waits longer than asked for.
      return ChannelStatus::kTimeout;
    }
    char buffer[512];
    const ssize_t n = read(fd_, buffer, sizeof(buffer));
    if (n <= 0) return ChannelStatus::kClosed;
    received_.append(buffer, static_cast<std::size_t>(n));
  }
}

bool ParseNumberAfter(const std::string& line, const std::string& word, std::int64_t* number) {
  if (line.rfind(word + " ", 0) != 0) return false;
  const char* begin = line.data() + word.size() + 1;
  const char* end = line.data() + line.size();
  const auto [parsed, code] = std::from_chars(begin, end, *number);
  return code == std::errc() && parsed == end;
}

}  // namespace dual_model
