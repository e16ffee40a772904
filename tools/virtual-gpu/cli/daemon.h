// daemon.h: starting and stopping a virtual-gpud.
//
// Why        `run` has a private one as its child; `start` leaves one behind.
// Ownership  a PrivateDaemon ends with its object: process stopped, directory removed.
// Errors     Start returns false after the device process has said why on stderr.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace virtual_gpu::cli {

struct DaemonOptions {
  std::string profile = "mi308x";
  std::string isa = "auto";
  std::vector<std::string> params;
  unsigned gpus = 1;
  double time_scale = 1.0;
  bool strict = false;
  bool quiet = false;
};

// Checks the options and says in one line which ISA is shown (unless quiet). False: bad input, said
// so. `options->isa` is then no longer "auto".
bool CheckOptions(DaemonOptions* options);

// The folder with this program, and what belongs to it.
std::filesystem::path DaemonPath();
std::filesystem::path InterposerPath();  // empty when it is not there

// Starts virtual-gpud on `directory` and waits until it listens. `detach`: it outlives the caller,
// its messages go to directory/log. Returns its pid, or -1.
pid_t StartDaemon(const DaemonOptions& options, const std::filesystem::path& directory, bool stay,
                  bool detach);

class PrivateDaemon {
 public:
  PrivateDaemon() = default;
  ~PrivateDaemon();
  PrivateDaemon(const PrivateDaemon&) = delete;
  PrivateDaemon& operator=(const PrivateDaemon&) = delete;

  bool Start(const DaemonOptions& options);
  const std::filesystem::path& directory() const { return directory_; }

 private:
  pid_t pid_ = -1;
  std::filesystem::path directory_;
};

}  // namespace virtual_gpu::cli
