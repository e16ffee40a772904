// faults.h: what is to go wrong, on request.
//
// Why        How programs and layers behave when a preemption times out or an interrupt is lost can
//            only be tried with a device that does so. `virtual-gpu run --fault F`, `virtual-gpu
//            fault F`.
// Threads    any: the server's arms, the server's and the GPUs' threads take.
// Units      counts: how many times; times in host milliseconds.
// Errors     Arm says in one line what is wrong with the text.
// See        docs/virtual-gpu.md, "Faults on request"
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>

#include "rpc_protocol.h"

namespace virtual_gpu {

enum class FaultKind {
  kPreemptTimeout,
  kIo,
  kCreateFails,
  kUpdateFails,
  kHungWave,
  kLostEvent,
  kDie,
  kEvict,
  kRestore
};
inline constexpr std::size_t kFaultKinds = 9;

struct FaultRequest {
  FaultKind fault = FaultKind::kIo;
  std::int64_t number = 1;  // how often; kDie: after how many ms; kEvict, kRestore: whose pid
  int error = 0;            // kCreateFails, kUpdateFails
  std::uint32_t gpu = 0;
};

// NAME[:NUMBER][@GPU], create-fails:ERRNO[,NUMBER][@GPU], update-fails likewise. False: *error is one line.
bool ParseFault(const std::string& text, FaultRequest* request, std::string* error);
// "preempt-timeout, eio, ..."
std::string FaultNames();

class Faults {
 public:
  // The counted ones; kDie, kEvict and kRestore are the driver's to carry out.
  void Arm(const FaultRequest& request);
  // True as often as it was armed for this GPU.
  bool Take(FaultKind fault, std::uint32_t gpu);
  // The errno to fail with, or 0: of kCreateFails and kUpdateFails.
  int TakeError(FaultKind fault, std::uint32_t gpu);
  // How often it has come true, on all GPUs.
  std::int64_t Taken(FaultKind fault) const;

 private:
  struct OfGpu {
    std::array<std::int64_t, kFaultKinds> left{};
    std::array<int, kFaultKinds> error{};
  };
  mutable std::mutex mutex_;
  std::array<std::int64_t, kFaultKinds> taken_{};
  std::array<OfGpu, rpc::kGpusMax> gpus_;
};

}  // namespace virtual_gpu
