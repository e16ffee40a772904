// commands.h: the commands that ask a running controller.
//
// Errors     0, or kExitBadInput with one line on stderr: no controller, nothing of that name, not
//            permitted.
#pragma once

#include <optional>
#include <string>

#include "arguments.h"

namespace xsched_hsa {

int List(const std::string& socket, bool all, bool as_json);
int Stats(const std::string& socket, bool as_json);
// An empty priority means "what the program asked for".
// The last preemptions of a program, or of all: what was chosen, why, and what came of it.
int Explain(const std::string& socket, std::optional<int> pid, bool as_json);
int SetPriority(const std::string& socket, const QueueName& name, std::optional<int> priority);
int HoldOrRelease(const std::string& socket, const QueueName& name, bool hold);

}  // namespace xsched_hsa
