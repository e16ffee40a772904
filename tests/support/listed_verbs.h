// listed_verbs.h: what a tool's --help lists as subcommands, for tests that leave none out.
#pragma once

#include <sstream>
#include <string>
#include <vector>

inline std::vector<std::string> ListedVerbs(const std::string& help) {
  std::istringstream lines(help);
  std::string line;
  // CLI11 writes it in capitals from 2.5 on.
  while (std::getline(lines, line) && line != "Subcommands:" && line != "SUBCOMMANDS:") {
  }
  // A line that goes on below a description is further in.
  std::vector<std::string> verbs;
  while (std::getline(lines, line)) {
    if (line.size() > 2 && line.starts_with("  ") && line[2] != ' ')
      verbs.push_back(line.substr(2, line.find(' ', 2) - 2));
  }
  return verbs;
}
