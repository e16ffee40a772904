#include "log_sinks.h"

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "queue-ctl/stderr_line.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

constexpr char kJournalSocket[] = "/run/systemd/journal/socket";

class LineSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
  void flush_() override {}
};

class StderrSink final : public LineSink {
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    if (line.size() > PIPE_BUF) {
      line.resize(PIPE_BUF);
      line[PIPE_BUF - 1] = '\n';
    }
    WriteStderrLine(line.data(), line.size());
  }
};

int SyslogPriority(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::critical:
      return LOG_CRIT;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::info:
      return LOG_INFO;
    default:
      return LOG_DEBUG;
  }
}

class JournalSink final : public LineSink {
  void sink_it_(const spdlog::details::log_msg& message) override {
    SendToJournal({{"MESSAGE", std::string(message.payload.data(), message.payload.size())},
                   {"PRIORITY", std::to_string(SyslogPriority(message.level))}});
  }
};

}  // namespace

bool LogsToTheJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  unsigned long device = 0, inode = 0;
  struct stat status;
  return stream != nullptr && std::sscanf(stream, "%lu:%lu", &device, &inode) == 2 &&
         fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

std::string JournalEntry(const JournalFields& fields) {
  std::string entry;
  for (const auto& [name, value] : fields) {
    entry += name;
    if (value.find('\n') == std::string::npos) {
      entry += '=';
    } else {
      entry += '\n';
      for (unsigned byte = 0; byte < sizeof(std::uint64_t); ++byte) {
        entry += static_cast<char>(static_cast<std::uint64_t>(value.size()) >> (8 * byte) & 0xff);
      }
    }
    entry += value + '\n';
  }
  return entry;
}

// To the path each time: a journald that was restarted has another socket there.
void SendToJournal(const JournalFields& fields) {
  static const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  static sockaddr_un journal;
  static const bool has_address = FillAddress(kJournalSocket, &journal);
  if (fd < 0 || !has_address) return;
  const std::string entry = JournalEntry(fields) + "SYSLOG_IDENTIFIER=xsched-hsad\n";
  sendto(fd, entry.data(), entry.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
         reinterpret_cast<const sockaddr*>(&journal), sizeof journal);
}

std::shared_ptr<spdlog::logger> MakeLogger() {
  if (LogsToTheJournal()) {
    return std::make_shared<spdlog::logger>("xsched-hsad", std::make_shared<JournalSink>());
  }
  auto logger = std::make_shared<spdlog::logger>("xsched-hsad", std::make_shared<StderrSink>());
  logger->set_pattern("%n: %H:%M:%S.%f %l: %v");
  return logger;
}

}  // namespace xsched_hsa
