// container.h: in which container a process runs, and under which process ids.
//
// Why        debugfs, ftrace and the controller name processes as the outermost namespace does, logs
//            inside a container as the innermost does: both are shown side by side.
// Threads    pure functions, and readers of /proc.
// Errors     what can't be read is empty.
#pragma once

#include <string>
#include <vector>

namespace xsched_hsa {

struct Container {
  std::string cgroup;   // the path, as the kernel has it
  std::string runtime;  // "docker", "containerd", "crio", "podman", "lxc", "systemd"; empty: none
  std::string id;       // of the container
  std::string pod;      // Kubernetes' uid of the pod
};

// From the text of /proc/PID/cgroup, version 1 or 2.
Container ParseCgroup(const std::string& text);
Container ContainerOf(int pid);

// The process's ids, the outermost namespace first; from the text of /proc/PID/status.
std::vector<int> ParseNamespacePids(const std::string& status);
std::vector<int> NamespacePidsOf(int pid);

}  // namespace xsched_hsa
