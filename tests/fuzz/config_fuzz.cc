// A configuration file: good, or mistakes of which each names the file; and rules that match nothing odd.
#include <algorithm>
#include <cstdlib>

#include "config.h"
#include "fuzz_target.h"
#include "program_facts.h"

using namespace xsched_hsa;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Debian's toml++ reaches what it calls unreachable for some characters outside strings.
  if (std::any_of(data, data + size, [](std::uint8_t byte) { return byte >= 0x80; })) return 0;
  const fuzz::MemoryFile file(data, size);
  Config config;
  std::vector<std::string> errors;
  ReadConfigFile(file.path(), &config, &errors);
  for (const std::string& error : errors) {
    if (error.find(file.path()) == std::string::npos) std::abort();
  }
  ProgramFacts facts;
  facts.exe = "/usr/bin/a";
  facts.cgroup = "/b";
  facts.tag = "c";
  facts.command = "a d";
  MatchRule(config.rules, facts, {{"0", "root"}, {"0", "root"}});
  std::string error;
  ResolvePolicy(config.policy, config.mechanisms, &error);
  return 0;
}
