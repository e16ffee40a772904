// control_channel.h: lines of text between `dual-model run` and its workers.
//
// Protocol   worker: "ready PID" after its warm-up; parent: "go NS" (the common origin, monotonic);
//            parent to low workers: "stop NS"; worker: "done" once its result file is written and
//            its packets are checked; parent: "exit". Until then the worker keeps its queue, so
//            that the controller can be asked about it. worker, at any time: "error TEXT", then it
//            ends.
// Threads    one.
// Ownership  owns the descriptor, one end of a socket pair.
// Errors     kClosed when the other side is gone: a worker then ends.
// Limits     kLineMax bytes a line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dual_model {

enum class ChannelStatus { kLine, kTimeout, kClosed };

class ControlChannel {
 public:
  static constexpr std::size_t kLineMax = 4096;

  explicit ControlChannel(int fd = -1) : fd_(fd) {}
  ~ControlChannel();
  ControlChannel(ControlChannel&& other) noexcept;
  ControlChannel& operator=(ControlChannel&& other) noexcept;

  bool open() const { return fd_ >= 0; }
  int fd() const { return fd_; }

  // False if nobody is there to read it.
  bool Send(const std::string& line);
  // `timeout_ms` < 0: for ever.
  ChannelStatus Receive(int timeout_ms, std::string* line);

 private:
  int fd_;
  std::string received_;
};

// "go 123" -> 123 if the word is `word`; false otherwise.
bool ParseNumberAfter(const std::string& line, const std::string& word, std::int64_t* number);

}  // namespace dual_model
