#include <algorithm>
#include <cctype>

#include "cli-help/command_help.h"

namespace xsched_hsa {
namespace {

// A line that starts with a dot or a quote would be a request; a hyphen is to stay one.
std::string Escape(const std::string& text) {
  std::string escaped;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool at_line_start = i == 0 || text[i - 1] == '\n';
    if (at_line_start && (c == '.' || c == '\'')) escaped += "\\&";
    if (c == '\\') {
      escaped += "\\e";
    } else if (c == '-') {
      escaped += "\\-";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

std::string Paragraphs(const std::string& text) {
  std::string result;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find("\n\n", at), text.size());
    std::string paragraph = text.substr(at, end - at);
    // Lines that are indented are to stay as they are.
    const bool verbatim = paragraph.rfind("  ", 0) == 0;
    result += verbatim ? ".PP\n.nf\n" : ".PP\n";
    result += Escape(paragraph) + "\n";
    if (verbatim) result += ".fi\n";
    at = end + 2;
  }
  return result;
}

std::string OptionEntry(const OptionHelp& option) {
  std::string head;
  for (const std::string& name : option.names) {
    head += (head.empty() ? "\\fB" : ", \\fB") + Escape(name) + "\\fR";
  }
  if (!option.positional && !option.value.empty()) head += " \\fI" + Escape(option.value) + "\\fR";
  std::string text = option.text;
  if (!option.choices.empty()) {
    text += text.empty() ? "One of " : ". One of ";
    for (std::size_t i = 0; i < option.choices.size(); ++i) {
      text += (i == 0 ? "" : ", ") + option.choices[i];
    }
  }
  return ".TP\n" + head + "\n" + Escape(text) + (text.empty() ? "" : ".") + "\n";
}

std::string Synopsis(const CommandHelp& command) {
  std::string line = "\\fB" + Escape(command.name) + "\\fR";
  bool flags = false;
  for (const OptionHelp& option : command.options) flags |= !option.positional;
  if (flags) line += " [\\fIoptions\\fR]";
  for (const OptionHelp& option : command.options) {
    if (!option.positional) continue;
    const std::string name = "\\fI" + Escape(Upper(option.names.front())) + "\\fR";
    line += option.required ? " " + name : " [" + name + "]";
  }
  return line;
}

// `path` is what stands before the command's own name.
std::string CommandEntries(const CommandHelp& command, const std::string& path) {
  std::string text = ".SS " + (path.empty() ? "" : Escape(path) + " ") + Synopsis(command) + "\n";
  text += Escape(command.text) + ".\n";
  for (const OptionHelp& option : command.options) {
    const bool help =
        std::find(option.names.begin(), option.names.end(), "--help") != option.names.end();
    if (!help) text += OptionEntry(option);
  }
  for (const CommandHelp& sub : command.commands) {
    text += CommandEntries(sub, path.empty() ? command.name : path + " " + command.name);
  }
  return text;
}

}  // namespace

std::string ManPage(const CommandHelp& program, const ManText& text) {
  const std::size_t colon = program.text.find(": ");
  const std::string summary =
      colon == std::string::npos ? program.text : program.text.substr(colon + 2);
  std::string page = ".TH " + Upper(Escape(program.name)) + " " + std::to_string(text.section) +
                     " \"\" \"xsched\\-hsa " + text.version + "\"\n";
  page += ".SH NAME\n" + Escape(program.name) + " \\- " + Escape(summary) + "\n";
  page += ".SH SYNOPSIS\n" + Synopsis(program);
  if (!program.commands.empty()) page += " \\fIcommand\\fR ...";
  page += "\n.SH DESCRIPTION\n" + Paragraphs(text.description);
  page += ".SH OPTIONS\n";
  for (const OptionHelp& option : program.options) page += OptionEntry(option);
  if (!program.commands.empty()) page += ".SH COMMANDS\n";
  for (const CommandHelp& command : program.commands) page += CommandEntries(command, "");
  for (const auto& [title, paragraphs] : text.sections) {
    page += ".SH " + Escape(title) + "\n" + Paragraphs(paragraphs);
  }
  return page;
}

}  // namespace xsched_hsa
