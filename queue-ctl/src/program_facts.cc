#include "program_facts.h"

#include <fcntl.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "wire_codec.h"

namespace xsched_hsa {
namespace {

constexpr std::size_t kFileMax = std::size_t{256} * 1024;  // of /proc; the rest is not looked at
constexpr char kTag[] = "XSCHED_HSA_TAG=";

std::string ReadFile(const std::string& path) {
  std::string text;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  char buffer[4096];
  ssize_t size = 0;
  while (text.size() < kFileMax && (size = read(fd, buffer, sizeof buffer)) > 0) {
    text.append(buffer, static_cast<std::size_t>(size));
  }
  close(fd);
  return text;
}

std::string ReadLink(const std::string& path) {
  char buffer[4096];
  const ssize_t size = readlink(path.c_str(), buffer, sizeof buffer);
  return size > 0 ? std::string(buffer, static_cast<std::size_t>(size)) : std::string();
}

std::string Clean(const std::string& text) { return CleanText(text.data(), text.size()); }

// "0::/path" is the unified hierarchy; with only the old ones, the first line will do.
std::string CgroupOf(const std::string& text) {
  std::istringstream lines(text);
  std::string line, first;
  while (std::getline(lines, line)) {
    const std::size_t name = line.find(':');
    const std::size_t path = name != std::string::npos ? line.find(':', name + 1) : name;
    if (path == std::string::npos) continue;
    if (line.rfind("0::", 0) == 0) return line.substr(path + 1);
    if (first.empty()) first = line.substr(path + 1);
  }
  return first;
}

std::string TagOf(const std::string& environment) {
  for (std::size_t at = 0; at < environment.size();) {
    const std::size_t end = std::min(environment.find('\0', at), environment.size());
    const std::string entry = environment.substr(at, end - at);
    if (entry.rfind(kTag, 0) == 0) return entry.substr(sizeof kTag - 1);
    at = end + 1;
  }
  return {};
}

// The 19th field of stat, after the command's name, which may hold anything.
int NiceOf(const std::string& stat) {
  const std::size_t name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string field;
  for (int i = 3; i < 19; ++i) fields >> field;
  int nice = 0;
  fields >> nice;
  return std::clamp(nice, -20, 19);
}

// The numbers after "\nKEY:" of a status file.
template <typename Number>
std::vector<Number> NumbersAfter(const std::string& status, const char* key) {
  std::vector<Number> found;
  const std::string start = std::string("\n") + key + ":";
  const std::size_t at = status.find(start);
  if (at == std::string::npos) return found;
  const std::size_t from = at + start.size();
  std::istringstream numbers(status.substr(from, status.find('\n', from) - from));
  for (Number number = 0; numbers >> number;) found.push_back(number);
  return found;
}

bool Matches(const std::optional<std::string>& pattern, const std::string& text) {
  return !pattern || (!text.empty() && fnmatch(pattern->c_str(), text.c_str(), 0) == 0);
}
bool MatchesAny(const std::optional<std::string>& pattern, const std::vector<std::string>& texts) {
  return !pattern || std::any_of(texts.begin(), texts.end(),
                                 [&](const std::string& text) { return Matches(pattern, text); });
}

}  // namespace

ProgramFacts ReadProgramFacts(const std::string& root, std::int32_t pid) {
  const std::string directory = root + "/proc/" + std::to_string(pid) + "/";
  ProgramFacts facts;
  facts.exe = Clean(ReadLink(directory + "exe"));
  facts.cgroup = Clean(CgroupOf(ReadFile(directory + "cgroup")));
  facts.tag = Clean(TagOf(ReadFile(directory + "environ")));
  std::string command = ReadFile(directory + "cmdline");
  while (!command.empty() && command.back() == '\0') command.pop_back();
  std::replace(command.begin(), command.end(), '\0', ' ');
  facts.command = Clean(command);
  facts.nice = NiceOf(ReadFile(directory + "stat"));
  const std::string status = ReadFile(directory + "status");
  facts.pids = NumbersAfter<std::int32_t>(status, "NSpid");
  facts.uids = NumbersAfter<std::uint32_t>(status, "Uid");
  const auto gids = NumbersAfter<std::uint32_t>(status, "Gid");  // real, effective, saved, of files
  if (gids.size() >= 2) facts.gids.push_back(gids[1]);
  for (const std::uint32_t gid : NumbersAfter<std::uint32_t>(status, "Groups")) {
    facts.gids.push_back(gid);
  }
  return facts;
}

NamesWanted NamedIn(const std::vector<Rule>& rules) {
  NamesWanted wanted{false, false};
  for (const Rule& rule : rules) {
    wanted.users |= rule.user.has_value();
    wanted.groups |= rule.group.has_value();
  }
  return wanted;
}

Identity ReadIdentity(std::uint32_t uid, const std::vector<std::uint32_t>& gids,
                      const NamesWanted& wanted) {
  Identity identity;
  identity.users.push_back(std::to_string(uid));
  const passwd* const user = wanted.users ? getpwuid(uid) : nullptr;
  if (user != nullptr) identity.users.emplace_back(user->pw_name);
  for (const std::uint32_t gid : gids) {
    identity.groups.push_back(std::to_string(gid));
    const group* const entry = wanted.groups ? getgrgid(gid) : nullptr;
    if (entry != nullptr) identity.groups.emplace_back(entry->gr_name);
  }
  return identity;
}

const Rule* MatchRule(const std::vector<Rule>& rules, const ProgramFacts& facts,
                      const Identity& identity) {
  for (const Rule& rule : rules) {
    if (Matches(rule.exe, facts.exe) && MatchesAny(rule.user, identity.users) &&
        MatchesAny(rule.group, identity.groups) && Matches(rule.cgroup, facts.cgroup) &&
        Matches(rule.tag, facts.tag) && Matches(rule.command, facts.command)) {
      return &rule;
    }
  }
  return nullptr;
}

ProgramClass ClassOf(const Rule& rule, const ProgramFacts& facts) {
  ProgramClass result = rule.program_class;
  // -20 is most urgent: 15; 19: 0. The default, 0, is 7: normal.
  if (rule.priority_from_nice) {
    result.priority = facts.nice <= 0 ? 7 - facts.nice * 8 / 20 : 7 - (facts.nice * 7 + 18) / 19;
  }
  return result;
}

}  // namespace xsched_hsa
