// command_line.h: xsched-hsa-ctl's words, parsed and nothing more.
//
// Why        The only file that sees CLI11; the manual page and the completion come from it, too.
// Threads    one.
// Errors     Parse prints one line and gives the exit code; --help and --version are code 0.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "run.h"

namespace xsched_hsa {

struct CommandLine {
  std::string command;  // "list", "policy set"
  std::string socket;   // empty: the default place
  std::string target;   // PID or PID:QUEUE, as written
  std::string value;    // of a set-, a policy's name, a number of units
  std::string gpu, file, other, sort = "held";
  std::optional<int> pid;
  std::optional<int> batch;
  double interval_s = 1;
  int count = 0;
  double seconds = 0;
  std::vector<std::string> parameters;  // NAME=NUMBER
  bool all = false, json = false, reverse = false, probe = false;
  RunOptions run;
};

// Empty: the caller returns *code.
std::optional<CommandLine> ParseCommandLine(int argc, char** argv, int* code);

}  // namespace xsched_hsa
