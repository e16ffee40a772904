#include "doctor.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "arguments.h"
#include "checks.h"

namespace xsched_hsa {
namespace {

const char* HealthName(Health health) {
  switch (health) {
    case Health::kOk:
      return "ok";
    case Health::kWarn:
      return "warn";
    default:
      return "FAIL";
  }
}

}  // namespace

int Doctor(const std::string& socket, bool as_json, bool probe) {
  const Check gpus = CheckGpus();
  const Check priority = gpus.health == Health::kFail ? Check{"priority", Health::kWarn,
                                                              "not looked at: there is no GPU", ""}
                                                      : CheckPriority(probe);
  const std::vector<Check> checks = {CheckKfd(),    gpus,           CheckRenderNodes(),
                                     CheckDriver(), CheckRuntime(), CheckLayer(),
                                     CheckTools(),  priority,       CheckController(socket)};
  int failed = 0;
  nlohmann::json list = nlohmann::json::array();
  for (const Check& check : checks) {
    const std::string health = HealthName(check.health);
    if (check.health == Health::kFail) ++failed;
    if (as_json) {
      list.push_back({{"name", check.name},
                      {"health", health},
                      {"text", check.text},
                      {"advice", check.advice}});
      continue;
    }
    std::cout << health << std::string(6 - health.size(), ' ') << check.name
              << std::string(12 - check.name.size(), ' ') << check.text;
    if (!check.advice.empty()) std::cout << "; " << check.advice;
    std::cout << "\n";
  }
  if (as_json) {
    std::cout << nlohmann::json{{"checks", list}, {"failed", failed}}.dump(
                     2, ' ', false, nlohmann::json::error_handler_t::replace)
              << "\n";
  }
  return failed == 0 ? 0 : kExitFailed;
}

}  // namespace xsched_hsa
