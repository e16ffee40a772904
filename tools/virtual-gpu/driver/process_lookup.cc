#include "process_lookup.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace virtual_gpu {
namespace {

namespace fs = std::filesystem;

std::string StatusLine(const std::string& status_path, const std::string& key) {
  std::ifstream status(status_path);
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(key)) return line.substr(key.size());
  }
  return "";
}

pid_t LastNumber(const std::string& line) {
  const std::size_t at = line.find_last_of("\t ");
  return static_cast<pid_t>(std::atoi(line.c_str() + (at == std::string::npos ? 0 : at + 1)));
}

std::string Proc(pid_t pid) { return "/proc/" + std::to_string(pid); }

}  // namespace

bool SamePidNamespace(pid_t a, pid_t b) {
  if (a == b) return true;
  std::error_code error;
  const fs::path first = fs::read_symlink(Proc(a) + "/ns/pid", error);
  if (error) return false;
  const fs::path second = fs::read_symlink(Proc(b) + "/ns/pid", error);
  return !error && first == second;
}

pid_t PidInOwnNamespace(pid_t pid) {
  return LastNumber(StatusLine(Proc(pid) + "/status", "NSpid:"));
}

pid_t ThreadOf(pid_t pid, pid_t tid) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(Proc(pid) + "/task", error)) {
    if (LastNumber(StatusLine(entry.path() / "status", "NSpid:")) == tid) {
      return static_cast<pid_t>(std::atoi(entry.path().filename().c_str()));
    }
  }
  return 0;
}

pid_t TracerOf(pid_t pid) { return LastNumber(StatusLine(Proc(pid) + "/status", "TracerPid:")); }

bool NamesProcess(pid_t pid, pid_t caller, pid_t known) {
  if (pid <= 0) return false;
  if (SamePidNamespace(caller, getpid())) return pid == known;
  return SamePidNamespace(caller, known) && PidInOwnNamespace(known) == pid;
}

}  // namespace virtual_gpu
