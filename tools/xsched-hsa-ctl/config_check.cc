#include "config_check.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "arguments.h"
#include "locate.h"

namespace xsched_hsa {

int ConfigCheck(const std::string& file) {
  std::string program = FindController();
  if (program.empty()) return Fail("xsched-hsad is not beside this program; install or build it");
  std::vector<std::string> words = {program, "--check-config"};
  if (!file.empty()) words.insert(words.end(), {"--config", file});
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  return Fail("cannot run " + program + ": " + std::strerror(errno), kExitFailed);
}

}  // namespace xsched_hsa
