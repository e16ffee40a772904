// command_help.h: a command line as data: what a manual page and a shell completion are made of.
//
// Why        Both follow from the program's own parser: an option that is added appears in them.
// Threads    plain data and pure functions.
// Ownership  values.
#pragma once

#include <string>
#include <vector>

namespace xsched_hsa {

struct OptionHelp {
  std::vector<std::string> names;  // "--all", "-a"; of a positional one its name without dashes
  std::string text;
  std::string value;                 // what it takes, "TEXT"; empty: a flag
  std::vector<std::string> choices;  // if only some values are right
  bool positional = false;
  bool required = false;
};

struct CommandHelp {
  std::string name, text;
  std::vector<OptionHelp> options;
  std::vector<CommandHelp> commands;
};

// What a manual page says beyond the options; each part may be empty.
struct ManText {
  int section = 1;
  std::string version;
  std::string description;  // paragraphs, separated by empty lines
  std::vector<std::pair<std::string, std::string>> sections;  // title, paragraphs
};

// roff for man(7).
std::string ManPage(const CommandHelp& program, const ManText& text);

// A function for bash's `complete`, and its registration.
std::string BashCompletion(const CommandHelp& program);

}  // namespace xsched_hsa
