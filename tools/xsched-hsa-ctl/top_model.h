// top_model.h: from two answers of the controller to the rows of a table.
//
// Why        What top shows can be tested without a terminal or a controller.
// Threads    one.
// Units      shares are of the time between the two answers; _ms as the controller reports them:
//            host time, also on the virtual GPU.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace xsched_hsa {

struct TopRow {
  int pid = 0;
  std::string program, rule, queue, gpu, state, units;
  int priority = 0;
  std::uint64_t pending = 0, exposed = 0, held = 0;  // packets, now
  std::optional<double> device_percent;              // of the interval
  std::uint64_t preemptions = 0;
  double held_ms = 0;
  std::optional<double> p50_ms, p95_ms, p99_ms;  // of the program's requests
};

class TopModel {
 public:
  // Takes the controller's answer to "list"; `now_s` is any steady time.
  void Update(const nlohmann::json& reply, double now_s);
  // Sorted by one of: pid, priority, pending, device, held, preemptions, latency.
  std::vector<TopRow> Rows(const std::string& sort, bool reverse) const;
  const std::string& summary() const { return summary_; }

 private:
  using QueueKey = std::pair<int, std::string>;  // session, queue
  std::map<QueueKey, double> device_ms_;         // at the last update
  std::vector<TopRow> rows_;
  std::string summary_;
  double updated_s_ = 0;
};

// The table's lines, the heading first, none longer than `columns` (0: as long as they are): where they are, columns
// are left out, and only then lines are cut.
std::vector<std::string> TopLines(const std::vector<TopRow>& rows, std::size_t columns);

}  // namespace xsched_hsa
