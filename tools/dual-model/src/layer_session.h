// layer_session.h: runs workers under xsched-hsa: a private controller, and what it says about
// them.
//
// Why        A result "with xsched-hsa" counts only if the layer was really in between. The proof
//            is asked from the controller while every worker still holds its queue, and compared
//            with what the workers themselves counted.
// Ownership  the controller lives and dies with this object; its socket is in a folder of its own.
// Errors     false and one line.
// See        tools/xsched-hsa-ctl (list --json), Proof's rules in layer_session_test.cc
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "child_process.h"

namespace dual_model {

struct WorkerIdentity {
  pid_t pid = 0;
  bool high = false;
  std::uint64_t packets_submitted = 0;  // by its own count
};

struct Proof {
  bool layer_loaded = false;
  std::uint64_t queues = 0;
  std::uint64_t packets_held = 0;
  std::uint64_t preemptions = 0;  // times a gate closed on a queue with work behind it
  std::uint64_t held_ms = 0;      // total, machine time
  std::uint64_t squeezes = 0, suspends = 0;
  nlohmann::json decisions;        // the last ones of each worker, as `explain --json` has them
  nlohmann::json controller;       // what it was set to: policy, parameters, mechanisms
  std::uint64_t raises = 0;        // times a high queue asked for the device
  std::uint64_t packets_seen = 0;  // by the layer: at least what the workers submitted
  std::uint64_t packets_submitted = 0, packets_completed = 0;  // by the workers' count
  std::string unproven;  // why a run with the layer proves nothing; empty otherwise
};

// Reads `xsched-hsa-ctl list --all --json`. False, with the reason, if any worker's layer was not
// up or missed packets: then the run proves nothing.
bool ReadProof(const std::string& list_json, const std::vector<WorkerIdentity>& workers,
               Proof* proof, std::string* error);

class LayerSession {
 public:
  LayerSession() = default;
  ~LayerSession();
  LayerSession(const LayerSession&) = delete;
  LayerSession& operator=(const LayerSession&) = delete;

  // `arguments`: further ones for the controller.
  bool Start(const std::vector<std::string>& arguments, std::string* error);
  // The command line that runs `command` with the layer in it.
  std::vector<std::string> Wrap(const std::string& priority,
                                const std::vector<std::string>& command) const;
  // Records what the layer and the controller do from now on, until StopTrace writes it.
  bool StartTrace(std::string* error) const;
  bool StopTrace(const std::string& path, std::string* error) const;
  bool Prove(const std::vector<WorkerIdentity>& workers, Proof* proof, std::string* error);

 private:
  bool Ask(const std::vector<std::string>& command, std::string* output, std::string* error) const;
  bool ReadSettings(nlohmann::json* settings, std::string* error) const;

  std::string folder_, socket_;
  ChildProcess controller_;
};

}  // namespace dual_model
