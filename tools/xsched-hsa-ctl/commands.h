// commands.h: the commands that ask a running controller and print what it says.
//
// Threads    one.
// Errors     an exit code of arguments.h, with one line on stderr unless it is 0.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace xsched_hsa {

int List(const std::string& socket, bool all, bool as_json);
int Stats(const std::string& socket, bool as_json);
// The last preemptions of a program, or of all.
int Explain(const std::string& socket, std::optional<int> pid, bool as_json);
int Devices(const std::string& socket, bool as_json);
// `count` 0: until interrupted.
int Events(const std::string& socket, int count, double seconds, bool as_json);
int PolicyShow(const std::string& socket, bool as_json);
// `gpu` empty: everywhere. `parameters`: NAME=NUMBER each.
int PolicySet(const std::string& socket, const std::string& policy, const std::string& gpu,
              const std::vector<std::string>& parameters, bool as_json);
// What the controller would read now, and reading it.
int ConfigShow(const std::string& socket, bool as_json);
int ConfigReload(const std::string& socket, bool as_json);
// set-..., cu-mask, suspend, resume, hold, release: words as the user wrote them.
int Change(const std::string& socket, const std::string& command, const std::string& target,
           const std::string& value, bool as_json);

}  // namespace xsched_hsa
