// container.h: in which container a process runs.
//
// Threads    pure.
// Errors     what is not there is empty.
#pragma once

#include <string>

namespace xsched_hsa {

struct Container {
  std::string cgroup;   // the path, as the kernel has it
  std::string runtime;  // "docker", "containerd", "crio", "podman", "lxc", "systemd"; empty: none
  std::string id;       // of the container
  std::string pod;      // Kubernetes' uid of the pod
};

// From the text of /proc/PID/cgroup, version 1 or 2.
Container ParseCgroup(const std::string& text);

}  // namespace xsched_hsa
