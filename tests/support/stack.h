// stack.h: a virtual GPU, a controller and programs under the layer, for one test.
//
// Why        The tests of the layer run it where it lives: in a process with the unmodified
//            runtime, on a device, beside a real controller.
// Ownership  the device and the controller end with the Stack.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.h"

namespace xsched_hsa_tests {

class Stack {
 public:
  // Starts a device of its own; `options` as `virtual-gpu start` has them.
  explicit Stack(const std::vector<std::string>& options = {});
  ~Stack();

  const std::string& socket() const { return socket_; }

  // Which gate the programs started from now on shall have (XSCHED_HSA_GATE).
  void UseGate(const std::string& gate) { gate_ = gate; }
  // What the controllers and programs started from now on have in their environment besides.
  void UseEnvironment(const Environment& environment) { environment_ = environment; }

  void StartController(const std::vector<std::string>& arguments = {});
  int controller_pid() const { return controller_->pid(); }
  void SignalController(int signal) { controller_->Signal(signal); }
  // One that sees the device: its compute units, say.
  void StartControllerOnDevice(const std::vector<std::string>& arguments = {});
  // And reaps it, unless it is SIGSTOP: what it has said.
  Result KillController(int signal);
  // A program on the device with the layer loaded at `priority`.
  std::unique_ptr<Process> Start(const std::string& priority,
                                 const std::vector<std::string>& command);
  // A program on the device without the layer.
  std::unique_ptr<Process> StartPlain(const std::vector<std::string>& command,
                                      const Environment& environment = {});
  Result Ctl(const std::vector<std::string>& arguments);

  // The process of the list whose `exe` or command ran as `pid`'s namespace pid; null if there is
  // none.
  nlohmann::json List();
  // The queue of the newest session whose XSCHED_HSA_PRIORITY was `priority`; null when absent.
  nlohmann::json QueueAt(int priority);
  // Waits until QueueAt(priority)[field] == value.
  bool WaitForQueue(int priority, const std::string& field, const nlohmann::json& value);
  int PidAt(int priority);
  // The KFD queues of a process, as the device has them (virtual-gpu stats).
  nlohmann::json DeviceQueues(int pid);
  // The folder with the device's socket, and its files under root/.
  std::string DeviceFolder();

 private:
  TemporaryDirectory directory_;
  std::string device_, socket_, gate_ = "window";
  Environment environment_;
  std::unique_ptr<Process> controller_;
};

}  // namespace xsched_hsa_tests
