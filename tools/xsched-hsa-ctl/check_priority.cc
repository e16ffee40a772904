// check_priority.cc: does hardware queue priority have an effect on this device and driver?
//
// Nobody documents it, and the only way to know is to try: about a second of two full queues, so only
// when asked for.
#include <sys/wait.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "checks.h"
#include "locate.h"

namespace xsched_hsa {
namespace {

// Exit code of `command` as the shell has it; its standard output.
int Output(const std::string& command, std::string* text) {
  FILE* pipe = popen(command.c_str(), "re");
  if (pipe == nullptr) return -1;
  char buffer[512];
  while (std::fgets(buffer, sizeof(buffer), pipe) != nullptr) *text += buffer;
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Percent(double share) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.0f %%", 100 * share);
  return text;
}

}  // namespace

Check CheckPriority(bool probe) {
  Check check{"priority", Health::kOk, "hardware queue priority: effect not tried", ""};
  if (!probe) {
    check.advice = "'doctor --probe' tries it with a second of the GPU";
    return check;
  }
  const std::string program = FindBeside("dual-model");
  if (program.empty() || program.find('\'') != std::string::npos) {
    check.health = Health::kWarn;
    check.advice = "dual-model, which tries it, is not beside this program; install it";
    return check;
  }
  std::string text;
  const int code = Output(
      "env -u HSA_TOOLS_LIB timeout 60 '" + program + "' probe-priority 2>&1 </dev/null", &text);
  // The answer is the last line; a runtime or a virtual GPU may have said something before.
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const std::string last = text.substr(text.rfind('\n') + 1);
  const auto answer = nlohmann::json::parse(last, nullptr, false);
  if (code != 0 || !answer.is_object() || !answer.contains("effective")) {
    check.health = Health::kWarn;
    check.text = "hardware queue priority: the probe failed: " + last;
    check.advice = "run '" + program + " probe-priority' by hand";
    return check;
  }
  const std::string shares = Percent(answer.value("share_preferred", 0.0)) +
                             " of the device against the lowest, " +
                             Percent(answer.value("share_alike", 0.0)) + " among equals";
  const bool simulated = answer.value("simulated", false);
  const bool effective = answer.value("effective", false);
  check.text =
      std::string("hardware queue priority ") +
      (effective ? "has an effect: the highest gets " : "has no effect: the highest gets ") +
      shares + (simulated ? " (simulated)" : "");
  if (!effective) {
    check.health = Health::kWarn;
    check.advice = "setting it (--mechanisms ...,priority) gains nothing here";
  }
  return check;
}

}  // namespace xsched_hsa
