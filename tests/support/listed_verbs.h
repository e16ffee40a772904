// listed_verbs.h: what a tool's --help lists as subcommands, for tests that leave none out.
#pragma once

#include <sstream>
#include <string>
#include <vector>

inline std::vector<std::string> ListedVerbs(const std::string& help) {
  std::istringstream lines(help);
  std::string line;
  while (std::getline(lines, line) && line != "Subcommands:") {
  }
  std::vector<std::string> verbs;
  for (std::string verb; lines >> verb && std::getline(lines, line);) verbs.push_back(verb);
  return verbs;
}
