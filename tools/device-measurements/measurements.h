// measurements.h: what only the device can tell, each measured once by one function.
//
// Why        The plan weighs a runlist cycle against the rest of a kernel, and nobody has published what a
//            cycle costs on an MI-series GPU; the virtual GPU's parameters for it are ranges. One run of
//            this on hardware makes numbers of them.
// Threads    each function uses one thread beside the caller's and ends it.
// Units      device time: microseconds in names ending in _us, nanoseconds in the device's parameters.
// Errors     false and one line: the device or the driver refused, or a kernel did not end. What was
//            measured but is not as it should be is a failed check in the record, not an error.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "driven_queue.h"

namespace device_measurements {

struct Effort {
  int cycles = 1000;  // runlist cycles on an idle device
  int suspends = 100;
  int iterations = 20;       // of kernels, where rates are compared
  double priority_s = 0.3;   // each half of the contest
  double endurance_s = 600;  // at ten preemptions a second
  int reactions = 200;       // of each kind
};

// What everything below adds to.
struct Record {
  nlohmann::json measured = nlohmann::json::object();  // distributions and figures, for people
  nlohmann::json params = nlohmann::json::object();    // of the virtual GPU, for calibrate
  nlohmann::json checks = nlohmann::json::array();     // {"name", "passed", "text"}
  void Check(const std::string& name, bool passed, const std::string& text);
  bool AllPassed() const;
};

struct Bench {
  std::uint32_t gpu;  // which agent
  dual_model::HsaDevice* device;
  dual_model::ReplayClock clock;
  xsched_hsa::KfdNode node;
  Effort effort;
};

bool MeasurePackets(const Bench& bench, Record* record, std::string* error);
// A runlist cycle with nothing running, and what a neighbour's kernels feel of one.
bool MeasureCycle(const Bench& bench, Record* record, std::string* error);
// Suspend and resume in the middle of kernels that fill the device.
bool MeasureSuspend(const Bench& bench, Record* record, std::string* error);
bool MeasureMask(const Bench& bench, Record* record, std::string* error);
bool MeasurePriority(const Bench& bench, Record* record, std::string* error);
// Everything mixed, for long.
bool Endure(const Bench& bench, Record* record, std::string* error);

}  // namespace device_measurements
