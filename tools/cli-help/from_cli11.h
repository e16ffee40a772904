// from_cli11.h: CommandHelp from a CLI11 parser. Include it only where CLI11 is included anyway.
//
// Threads    pure functions of a parser that nobody changes meanwhile.
// Limits     options without a group are hidden, here as in CLI11's own help.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli-help/command_help.h"

namespace xsched_hsa {

inline OptionHelp DescribeOption(const CLI::Option& option) {
  OptionHelp help;
  help.positional = option.get_positional();
  help.required = option.get_required();
  for (const std::string& name : option.get_snames()) help.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) help.names.push_back("--" + name);
  if (help.names.empty()) help.names.push_back(option.get_name(true));
  help.positional = option.get_snames().empty() && option.get_lnames().empty();
  help.text = option.get_description();
  if (option.get_items_expected_max() == 0) return help;
  // "TEXT:{low,high}": CLI11 shows the validators there.
  help.value = option.get_type_name();
  const std::size_t brace = help.value.find('{');
  if (brace != std::string::npos) {
    std::string word;
    for (std::size_t i = brace + 1; i < help.value.size() && help.value[i] != '}'; ++i) {
      if (help.value[i] == ',') {
        help.choices.push_back(word);
        word.clear();
      } else {
        word += help.value[i];
      }
    }
    help.choices.push_back(word);
  }
  help.value = help.value.substr(0, help.value.find_first_of(":{ "));
  if (help.value.empty()) help.value = "VALUE";
  return help;
}

inline CommandHelp DescribeCommand(const CLI::App& app) {
  CommandHelp help;
  help.name = app.get_name();
  help.text = app.get_description();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) help.options.push_back(DescribeOption(*option));
  }
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (!sub->get_group().empty()) help.commands.push_back(DescribeCommand(*sub));
  }
  return help;
}

}  // namespace xsched_hsa
