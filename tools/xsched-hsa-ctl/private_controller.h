// private_controller.h: a controller for one `xsched-hsa-ctl run`, on a socket of its own.
//
// Ownership  the process is ours until Release; the controller removes its socket and directory.
//            Should we be killed, it leaves by itself once nobody is connected.
// Errors     Start returns nothing and one line.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace xsched_hsa {

class PrivateController {
 public:
  // Returns when the socket answers.
  static std::unique_ptr<PrivateController> Start(std::string* error);
  ~PrivateController();
  PrivateController(const PrivateController&) = delete;
  PrivateController& operator=(const PrivateController&) = delete;

  const std::string& socket_path() const { return socket_path_; }
  pid_t pid() const { return pid_; }
  // Programs still need it: it stays until they have gone.
  void Release() { pid_ = -1; }

 private:
  PrivateController() = default;
  bool Spawn(const std::string& program, std::string* error);

  std::string directory_, socket_path_;
  pid_t pid_ = -1;
};

}  // namespace xsched_hsa
