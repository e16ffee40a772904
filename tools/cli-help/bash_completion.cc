// bash_completion.cc: one case for each command, keyed by the words of its path.
#include <string>

#include "cli-help/command_help.h"

namespace xsched_hsa {
namespace {

std::string FunctionName(const std::string& program) {
  std::string name = "_" + program;
  for (char& c : name) {
    if (c == '-') c = '_';
  }
  return name;
}

std::string Joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

// The cases "path words" -> what may follow.
void AppendWords(const CommandHelp& command, const std::string& path, std::string* cases) {
  std::vector<std::string> words;
  words.reserve(command.commands.size());
  for (const CommandHelp& sub : command.commands) words.push_back(sub.name);
  for (const OptionHelp& option : command.options) {
    const std::vector<std::string>& from = option.positional ? option.choices : option.names;
    words.insert(words.end(), from.begin(), from.end());
  }
  *cases += "    '" + path + "') words='" + Joined(words) + "' ;;\n";
  for (const CommandHelp& sub : command.commands) {
    AppendWords(sub, path + (path.empty() ? "" : " ") + sub.name, cases);
  }
}

// The cases "path option" -> the values that the option takes; a dash: a file name.
void AppendValues(const CommandHelp& command, const std::string& path, std::string* cases) {
  for (const OptionHelp& option : command.options) {
    if (option.positional || option.value.empty()) continue;
    for (const std::string& name : option.names) {
      const std::string values = option.choices.empty() ? "-" : Joined(option.choices);
      cases->append("    '").append(path).append(path.empty() ? "" : " ").append(name);
      cases->append("') values='").append(values).append("' ;;\n");
    }
  }
  for (const CommandHelp& sub : command.commands) {
    AppendValues(sub, path + (path.empty() ? "" : " ") + sub.name, cases);
  }
}

void AppendPaths(const CommandHelp& command, const std::string& path, std::string* text) {
  for (const CommandHelp& sub : command.commands) {
    const std::string inner = path + (path.empty() ? "" : " ") + sub.name;
    *text += "'" + inner + "' ";
    AppendPaths(sub, inner, text);
  }
}

}  // namespace

std::string BashCompletion(const CommandHelp& program) {
  const std::string function = FunctionName(program.name);
  std::string words, values, paths;
  AppendWords(program, "", &words);
  AppendValues(program, "", &values);
  AppendPaths(program, "", &paths);
  return "# bash completion of " + program.name + "; made from its command line by --help-bash\n" +
         function + "() {\n" +
         "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
         "  local path='' word words='' values='' i known=0\n"
         "  local paths=(" +
         paths +
         ")\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
         "    [[ ${COMP_WORDS[i]} == -- ]] && { COMPREPLY=($(compgen -f -- \"$current\")); return; "
         "}\n"
         "    known=0\n"
         "    for word in \"${paths[@]}\"; do\n"
         "      [[ $word == \"${path:+$path }${COMP_WORDS[i]}\" ]] && known=1\n"
         "    done\n"
         "    [[ $known == 1 ]] && path=${path:+$path }${COMP_WORDS[i]}\n"
         "  done\n"
         "  case ${path:+$path }$previous in\n" +
         values +
         "  esac\n"
         "  if [[ $values == - ]]; then\n"
         "    COMPREPLY=($(compgen -f -- \"$current\"))\n"
         "    return\n"
         "  elif [[ -n $values ]]; then\n"
         "    COMPREPLY=($(compgen -W \"$values\" -- \"$current\"))\n"
         "    return\n"
         "  fi\n"
         "  case $path in\n" +
         words +
         "  esac\n"
         "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
         "}\n"
         "complete -F " +
         function + " " + program.name + "\n";
}

}  // namespace xsched_hsa
