// priority_probe.h: does hardware queue priority have an effect on this device and kernel driver?
//
// Why        In the driver a queue's priority reaches two registers; on some parts the hardware's answer
//            is a preference for free slots, on others nothing. Nobody documents which. So: two queues that
//            each fill the device, first alike, then one at the highest and one at the lowest priority;
//            what each got done is counted by the device.
// Threads    one of its own for each queue while it runs. About a second of the GPU.
// Errors     an exit code: 0 and one JSON object on stdout; 1 and one line; 2: no device.
// Units      shares are fractions of the workgroups done by both.
#pragma once

#include <cstdint>
#include <string>

namespace dual_model {

struct PriorityProbeOptions {
  std::uint32_t gpu = 0;
  double seconds = 0.3;  // device time of each of the two measurements
};

int ProbePriority(const PriorityProbeOptions& options);

// What priority makes of a half has to be more than two equal queues differ by.
inline constexpr double kShareNoticeable = 0.1;

// The first queue's share of the work: both at normal priority, and at the highest and the lowest.
struct PriorityShares {
  double alike = 0, preferred = 0;
  bool effective() const { return preferred > alike + kShareNoticeable; }
};

class HsaDevice;
class ReplayClock;
bool MeasurePriority(HsaDevice* device, const ReplayClock& clock, double seconds,
                     PriorityShares* shares, std::string* error);

}  // namespace dual_model
