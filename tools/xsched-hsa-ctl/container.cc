#include "container.h"

#include <cctype>
#include <sstream>

namespace xsched_hsa {
namespace {

bool IsHex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

// The last run of 64 hexadecimal digits: what every runtime names its containers by.
std::string LongId(const std::string& path) {
  constexpr std::size_t kIdDigits = 64;
  for (std::size_t end = path.size(); end >= kIdDigits; --end) {
    std::size_t digits = 0;
    while (digits < kIdDigits && IsHex(path[end - 1 - digits])) ++digits;
    if (digits == kIdDigits) return path.substr(end - kIdDigits, kIdDigits);
  }
  return {};
}

// "...-pod1234_5678.slice" or "/pod1234-5678/": the uid with dashes.
std::string PodUid(const std::string& path) {
  if (path.find("kubepods") == std::string::npos) return {};
  for (std::size_t at = path.find("pod"); at != std::string::npos; at = path.find("pod", at + 3)) {
    std::string uid;
    for (std::size_t i = at + 3; i < path.size(); ++i) {
      if (!IsHex(path[i]) && path[i] != '_' && path[i] != '-') break;
      uid += path[i] == '_' ? '-' : path[i];
    }
    if (uid.size() >= 32) return uid;
  }
  return {};
}

std::string RuntimeOf(const std::string& path) {
  struct Mark {
    const char* text;
    const char* name;
  };
  constexpr Mark kMarks[] = {{"cri-containerd", "containerd"},
                             {"crio-", "crio"},
                             {"libpod-", "podman"},
                             {"docker", "docker"},
                             {"/lxc", "lxc"},
                             {"kubepods", "kubernetes"}};
  for (const Mark& mark : kMarks) {
    if (path.find(mark.text) != std::string::npos) return mark.name;
  }
  return {};
}

}  // namespace

Container ParseCgroup(const std::string& text) {
  Container container;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string path = line.substr(second + 1);
    // Version 2's line (no controllers named) if there is one with something in it, else the
    // longest of version 1's.
    const bool unified = second == first + 1 && path.size() > 1;
    if (unified || path.size() > container.cgroup.size()) container.cgroup = path;
    if (unified) break;
  }
  container.id = LongId(container.cgroup);
  container.pod = PodUid(container.cgroup);
  if (!container.id.empty() || !container.pod.empty() ||
      container.cgroup.find("/lxc") != std::string::npos) {
    container.runtime = RuntimeOf(container.cgroup);
  }
  return container;
}

}  // namespace xsched_hsa
