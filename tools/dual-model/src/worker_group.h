// worker_group.h: one set of workers that run together: started, begun, stopped, checked.
//
// Why        run.h says what a run is; this is the conversation with its processes
//            (control_channel.h has the protocol).
// Threads    one. Ownership: the workers end with this object, killed if need be.
// Errors     Run: false, one line in *error; bad_input() tells a worker's exit 2 from its exit 1. A
//            worker that ends early ends the run, whichever one is being waited for.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "child_process.h"
#include "control_channel.h"
#include "layer_session.h"
#include "replay_clock.h"
#include "run.h"

namespace dual_model {

class WorkerGroup {
 public:
  // `folder`: where the workers leave their results. `layer`: nullptr for a run without it.
  WorkerGroup(const RunOptions& options, const std::string& folder, LayerSession* layer,
              std::string* error)
      : options_(options), folder_(folder), layer_(layer), error_(error) {}

  // Appends one result a worker; adds to *proof.
  bool Run(const std::vector<const ModelSpec*>& specs, std::vector<nlohmann::json>* results,
           Proof* proof);
  bool bad_input() const { return bad_input_; }

 private:
  struct Worker {
    const ModelSpec* spec = nullptr;
    bool high = false;
    pid_t pid = 0;  // of the worker itself, which may be a child of `xsched-hsa-ctl run`
    ChildProcess process;
    ControlChannel channel;
    std::string result_path;
  };

  std::vector<std::string> Command(const ModelSpec& spec, int fd,
                                   const std::string& result_path) const;
  bool Start(const ModelSpec* spec);
  bool WaitUntilReady();
  bool Go();
  // After the warm-up, if a timeline is wanted; what happens is recorded until StopLow.
  bool StartTrace();
  bool StopTrace();
  bool WaitForHigh();
  bool StopLow();
  bool ReadResults(std::vector<nlohmann::json>* results, Proof* proof);
  bool LetGo(bool proven);
  bool WaitForDone(Worker* worker, double timeout_s);
  bool WaitForLine(Worker* worker, double timeout_s, std::string* line);
  bool AnyEnded();
  bool Gone(Worker* worker);
  bool Unexpected(Worker* worker, const std::string& line);
  bool Fail(const std::string& text);
  double MachineSeconds() const;

  const RunOptions& options_;
  std::string folder_;
  LayerSession* layer_;
  std::string* error_;
  std::vector<Worker> workers_;
  std::vector<WorkerIdentity> identities_;
  ReplayClock clock_{1};
  std::int64_t origin_ns_ = 0;
  bool bad_input_ = false;
};

}  // namespace dual_model
