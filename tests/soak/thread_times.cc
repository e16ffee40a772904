#include "thread_times.h"

#include <dirent.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace xsched_hsa {
namespace {

constexpr char kOurs[] = "xsched-";

std::string FirstLine(const std::string& path) {
  char line[512];
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  if (file == nullptr || std::fgets(line, sizeof line, file.get()) == nullptr) return {};
  const std::string text = line;
  return text.substr(0, text.find('\n'));
}

ThreadTimes TimesOfThread(const std::string& thread) {
  ThreadTimes times;
  times.name = FirstLine(thread + "/comm");
  std::sscanf(FirstLine(thread + "/schedstat").c_str(), "%" SCNu64 " %" SCNu64, &times.ran_ns,
              &times.waited_ns);
  // The name before the state is in parentheses and may hold some itself.
  const std::string stat = FirstLine(thread + "/stat");
  const std::size_t end = stat.rfind(") ");
  if (end != std::string::npos && end + 2 < stat.size()) times.state = stat[end + 2];
  return times;
}

std::uint64_t MachineStoodMs() {
  std::uint64_t ticks[8] = {};
  std::sscanf(FirstLine("/proc/stat").c_str(),
              "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64
              " %" SCNu64,
              &ticks[0], &ticks[1], &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6],
              &ticks[7]);
  return ticks[7] * 1000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
}

std::string Words(const ThreadTimes& before, const ThreadTimes& after) {
  char text[160];
  std::snprintf(text, sizeof text, "%s waited %.1f ms for a processor, ran %.1f ms, is in state %c",
                after.name.c_str(), static_cast<double>(after.waited_ns - before.waited_ns) / 1e6,
                static_cast<double>(after.ran_ns - before.ran_ns) / 1e6, after.state);
  return text;
}

}  // namespace

ProgramTimes TimesOf(pid_t pid) {
  ProgramTimes times;
  times.machine_stood_ms = MachineStoodMs();
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(tasks.c_str()), &closedir);
  if (directory == nullptr) return times;
  while (const dirent* entry = readdir(directory.get())) {
    const auto thread = static_cast<pid_t>(std::strtol(entry->d_name, nullptr, 10));
    if (thread > 0) times.threads[thread] = TimesOfThread(tasks + "/" + entry->d_name);
  }
  return times;
}

std::string WhatTheThreadsDid(const ProgramTimes& before, const ProgramTimes& after) {
  std::string told, other;
  std::uint64_t longest_ns = 0;
  for (const auto& [thread, now] : after.threads) {
    const auto at = before.threads.find(thread);
    const ThreadTimes then = at != before.threads.end() ? at->second : ThreadTimes{};
    if (now.name.rfind(kOurs, 0) == 0) {
      told += Words(then, now) + "; ";
    } else if (now.waited_ns - then.waited_ns >= longest_ns) {
      longest_ns = now.waited_ns - then.waited_ns;
      other = Words(then, now);
    }
  }
  return told + other;
}

std::string WhatTheHostDid(const ProgramTimes& before, const ProgramTimes& after) {
  const std::uint64_t stood_ms = after.machine_stood_ms - before.machine_stood_ms;
  return stood_ms == 0 ? "" : "the host kept processors for " + std::to_string(stood_ms) + " ms";
}

}  // namespace xsched_hsa
