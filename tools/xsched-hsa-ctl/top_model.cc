#include "top_model.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

#include "ask.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

std::string Fixed(const std::optional<double>& value, int decimals) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, *value);
  return text;
}

std::optional<double> Number(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? std::optional<double>(it->get<double>())
                                               : std::nullopt;
}

std::string UnitsText(const json& queue) {
  const std::string state = queue.value("state", "");
  if (state == "suspended") return "0";
  const json standing = queue.value("standing_mask", json());
  if (standing.is_object() && state != "squeezed") return Cell(standing, "units");
  return state == "squeezed" ? "fewer" : "all";
}

// What the program marked, and if it marks nothing, its queues' bursts.
void AddLatency(const json& process, TopRow* row) {
  const json requests = process.value("requests", json::object());
  for (const json& times : {requests.value("latency", json()), process.value("bursts", json())}) {
    if (!times.is_object() || times.value("count", 0) == 0) continue;
    row->p50_ms = Number(times, "p50_ms");
    row->p95_ms = Number(times, "p95_ms");
    row->p99_ms = Number(times, "p99_ms");
    return;
  }
}

TopRow ProcessRow(const json& process) {
  TopRow row;
  row.pid = process.value("pid", 0);
  row.program = Cell(process, "comm");
  row.rule = Cell(process, "rule");
  row.queue = row.gpu = "-";
  row.state = process.at("queues").empty() ? "no queue" : "";
  row.priority = process.value("priority", 0);
  AddLatency(process, &row);
  return row;
}

double SortValue(const TopRow& row, const std::string& sort) {
  if (sort == "pid") return -row.pid;  // the only one that goes upward
  if (sort == "priority") return row.priority;
  if (sort == "pending") return static_cast<double>(row.pending);
  if (sort == "device") return row.device_percent.value_or(-1);
  if (sort == "preemptions") return static_cast<double>(row.preemptions);
  if (sort == "latency") return row.p99_ms.value_or(-1);
  return row.held_ms;
}

// What a narrow terminal can do without, the least telling first.
constexpr const char* kLeftOutFirst[] = {"P50-MS", "P95-MS", "EXPOSED", "RULE",
                                         "GPU",    "CUS",    "PREEMPT", "PENDING"};

void LeaveOut(const std::string& column, std::vector<std::vector<std::string>>* cells) {
  const auto& names = cells->front();
  const auto at = std::find(names.begin(), names.end(), column) - names.begin();
  for (auto& row : *cells) row.erase(row.begin() + at);
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

}  // namespace

void TopModel::Update(const json& reply, double now_s) {
  const double elapsed_ms = (now_s - updated_s_) * 1000;
  std::map<QueueKey, double> device_ms;
  rows_.clear();
  std::size_t queues = 0;
  for (const json& process : reply.at("processes")) {
    TopRow head = ProcessRow(process);
    if (process.at("queues").empty()) rows_.push_back(head);
    for (const json& queue : process.at("queues")) {
      if (queue.value("state", "") == "destroyed") continue;
      ++queues;
      TopRow row = head;
      row.queue = Cell(queue, "serial");
      row.gpu = Cell(queue, "gpu");
      row.state = Cell(queue, "state");
      row.units = UnitsText(queue);
      row.priority = queue.value("priority", 0);
      const auto submitted = queue.value("submitted", std::uint64_t{0});
      const auto published = queue.value("published", std::uint64_t{0});
      const auto read = queue.value("read", std::uint64_t{0});
      row.pending = queue.value("pending", std::uint64_t{0});
      row.exposed = published > read ? published - read : 0;
      row.held = submitted > published ? submitted - published : 0;
      row.preemptions = queue.value("holds", std::uint64_t{0});
      row.held_ms = queue.value("held_ms", 0.0) + queue.value("restricted_ms", 0.0);
      if (const auto used_ms = Number(queue, "device_ms")) {
        const QueueKey key{process.value("session", 0), row.queue};
        device_ms[key] = *used_ms;
        const auto before = device_ms_.find(key);
        if (before != device_ms_.end() && elapsed_ms > 0) {
          row.device_percent =
              std::clamp((*used_ms - before->second) / elapsed_ms * 100, 0.0, 100.0);
        }
      }
      rows_.push_back(std::move(row));
    }
  }
  device_ms_ = std::move(device_ms);
  updated_s_ = now_s;
  const json& controller = reply.at("controller");
  summary_ = "policy " + Cell(controller, "policy") + ", " +
             std::to_string(reply.at("processes").size()) + " programs, " + std::to_string(queues) +
             " queues, up " + std::to_string(static_cast<long>(controller.value("uptime_s", 0.0))) +
             " s";
}

std::vector<TopRow> TopModel::Rows(const std::string& sort, bool reverse) const {
  std::vector<TopRow> rows = rows_;
  std::stable_sort(rows.begin(), rows.end(), [&](const TopRow& a, const TopRow& b) {
    const double x = SortValue(a, sort), y = SortValue(b, sort);
    return reverse ? x < y : x > y;
  });
  return rows;
}

std::vector<std::string> TopLines(const std::vector<TopRow>& rows, std::size_t columns) {
  std::vector<std::vector<std::string>> cells = {
      {"PID", "PROGRAM", "QUEUE", "RULE", "PRIO", "STATE", "CUS", "PENDING", "EXPOSED", "HELD",
       "DEV%", "PREEMPT", "HELD-MS", "P50-MS", "P95-MS", "P99-MS", "GPU"}};
  for (const TopRow& row : rows) {
    cells.push_back({std::to_string(row.pid), row.program, row.queue, row.rule,
                     std::to_string(row.priority), row.state, row.units.empty() ? "-" : row.units,
                     std::to_string(row.pending), std::to_string(row.exposed),
                     std::to_string(row.held), Fixed(row.device_percent, 1),
                     std::to_string(row.preemptions), Fixed(row.held_ms, 1), Fixed(row.p50_ms, 2),
                     Fixed(row.p95_ms, 2), Fixed(row.p99_ms, 2), row.gpu});
  }
  std::vector<std::string> lines = Lines(FormatTable(cells));
  if (columns == 0) return lines;
  const auto too_long = [columns](const std::string& line) { return line.size() > columns; };
  for (const char* column : kLeftOutFirst) {
    if (std::none_of(lines.begin(), lines.end(), too_long)) return lines;
    LeaveOut(column, &cells);
    lines = Lines(FormatTable(cells));
  }
  for (std::string& line : lines) line.resize(std::min(line.size(), columns));
  return lines;
}

}  // namespace xsched_hsa
