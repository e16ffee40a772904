#include "config_check.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "arguments.h"
#include "ask.h"
#include "locate.h"

namespace xsched_hsa {
namespace {

// What the command wrote, to whichever of its outputs; empty text in *error: it ran.
std::string OutputOf(char* const* arguments, int* status, std::string* error) {
  int ends[2];
  if (pipe(ends) != 0) {
    *error = std::string("cannot make a pipe: ") + std::strerror(errno);
    return {};
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t pid = -1;
  const int refused = posix_spawn(&pid, arguments[0], &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  std::string output;
  char part[4096];
  for (ssize_t size; (size = read(ends[0], part, sizeof part)) > 0;) {
    output.append(part, static_cast<std::size_t>(size));
  }
  close(ends[0]);
  if (refused != 0) {
    *error = std::string("cannot run ") + arguments[0] + ": " + std::strerror(refused);
  } else {
    waitpid(pid, status, 0);
  }
  return output;
}

int SayAsJson(char* const* arguments) {
  int status = 0;
  std::string error;
  std::istringstream output(OutputOf(arguments, &status, &error));
  if (!error.empty()) return Fail(error, kExitFailed);
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailed;
  nlohmann::json says = nlohmann::json::array();
  constexpr char kWho[] = "xsched-hsad: ";
  for (std::string line; std::getline(output, line);) {
    says.push_back(line.rfind(kWho, 0) == 0 ? line.substr(sizeof kWho - 1) : line);
  }
  PrintJson({{"good", code == 0}, {"says", says}});
  return code;
}

}  // namespace

int ConfigCheck(const std::string& file, bool as_json) {
  std::string program = FindController();
  if (program.empty()) return Fail("xsched-hsad is not beside this program; install or build it");
  std::vector<std::string> words = {program, "--check-config"};
  if (!file.empty()) words.insert(words.end(), {"--config", file});
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  if (as_json) return SayAsJson(arguments.data());
  execv(arguments[0], arguments.data());
  return Fail("cannot run " + program + ": " + std::strerror(errno), kExitFailed);
}

}  // namespace xsched_hsa
