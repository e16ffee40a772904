// program_facts.h: what the controller finds out about a program that rules may ask for.
//
// Why        A program's own greeting says what it likes. /proc says what the kernel knows (the
//            executable's path, control group, nice value) and what the program was started with
//            (arguments, environment): the former can't be forged by the program, the latter can.
// Threads    pure but for reading /proc.
// Errors     what can't be read stays empty: another user's environment without the right to it, a
//            process that has gone. A rule that needs it does not match then.
#pragma once

#include <string>
#include <vector>

#include "config.h"
#include "session.h"

namespace xsched_hsa {

// `root`: "" but in tests.
ProgramFacts ReadProgramFacts(const std::string& root, std::int32_t pid);

// Names and numbers of a user and of groups.
struct Identity {
  std::vector<std::string> users, groups;
};
// Which of their names are worth asking for: a name service may take its time, and the controller waits for it.
struct NamesWanted {
  bool users = true, groups = true;
};
NamesWanted NamedIn(const std::vector<Rule>& rules);
Identity ReadIdentity(std::uint32_t uid, const std::vector<std::uint32_t>& gids,
                      const NamesWanted& wanted = {});

// The first rule that matches; nullptr: none.
const Rule* MatchRule(const std::vector<Rule>& rules, const ProgramFacts& facts,
                      const Identity& identity);
// The rule's class for this program.
ProgramClass ClassOf(const Rule& rule, const ProgramFacts& facts);

}  // namespace xsched_hsa
