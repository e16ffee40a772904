#include "decisions.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <optional>

#include "slot_reader.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

constexpr const char* kMechanismNames[] = {"hold", "squeeze", "suspend", "share"};
constexpr const char* kReasonNames[] = {
    "cheapest within the delay budget", "least delay, nothing is within the budget",
    "nothing else is allowed or works here", "nothing of it is on the hardware",
    "to learn what requests, cycles and squeezes take"};

double Ms(const std::atomic<std::uint64_t>& ns) {
  const std::uint64_t value = ns.load(std::memory_order_relaxed);
  return value <= kCounterMax ? static_cast<double>(value) / 1e6 : 0;
}

// The number is another program's word, and need not be an error of this system.
json ErrorText(std::uint32_t error) {
  if (error == 0) return nullptr;
  const char* text = error < 4096 ? strerrordesc_np(static_cast<int>(error)) : nullptr;
  return text != nullptr ? std::string(text) : "error " + std::to_string(error);
}

// `number` is what the record should be.
std::optional<json> DecisionJson(const Decision& decision, std::uint64_t number) {
  if (decision.sequence.load(std::memory_order_seq_cst) != number + 1) return std::nullopt;
  const std::uint32_t mechanism = decision.mechanism.load(std::memory_order_relaxed);
  const std::uint32_t reason = decision.reason.load(std::memory_order_relaxed);
  if (mechanism >= std::size(kMechanismNames) || reason >= std::size(kReasonNames)) {
    return std::nullopt;
  }
  json measured;
  if (decision.measured_ns.load(std::memory_order_relaxed) != 0) {
    measured = Ms(decision.measured_ns);
  }
  json result = {{"number", number},
                 {"at_us", decision.at_us.load(std::memory_order_relaxed)},
                 {"queue", decision.serial.load(std::memory_order_relaxed)},
                 {"mechanism", kMechanismNames[mechanism]},
                 {"reason", kReasonNames[reason]},
                 {"queues", decision.queues.load(std::memory_order_relaxed)},
                 {"units_left", decision.units_left.load(std::memory_order_relaxed)},
                 {"error", ErrorText(decision.error.load(std::memory_order_relaxed))},
                 {"rest_ms", Ms(decision.rest_ns)},
                 {"rest_spread_ms", Ms(decision.rest_spread_ns)},
                 {"cycle_ms", Ms(decision.cycle_ns)},
                 {"request_ms", Ms(decision.request_ns)},
                 {"predicted_delay_ms", Ms(decision.predicted_delay_ns)},
                 {"predicted_cost_ms", Ms(decision.predicted_cost_ns)},
                 {"driver_ms", Ms(decision.took_ns)},
                 {"measured_ms", measured}};
  std::atomic_thread_fence(std::memory_order_acquire);
  if (decision.sequence.load(std::memory_order_seq_cst) != number + 1) return std::nullopt;
  return result;
}

}  // namespace

json DecisionsJson(const ProcessPage& page) {
  json decisions = json::array();
  const std::uint64_t made = page.decisions_made.load(std::memory_order_acquire);
  const std::uint64_t first = made - std::min<std::uint64_t>(made, kDecisionsMax);
  for (std::uint64_t number = first; number < made; ++number) {
    auto decision = DecisionJson(page.decisions[number % kDecisionsMax], number);
    if (decision) decisions.push_back(std::move(*decision));
  }
  return decisions;
}

}  // namespace xsched_hsa
