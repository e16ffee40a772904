// ask.h: one question to the controller, with every way it can go wrong in one line.
//
// Threads    one.
// Errors     an exit code: kExitNoController when nobody answers, in time or in a way we
//            understand; kExitBadInput when the controller refuses.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "queue-ctl/client.h"

namespace xsched_hsa {

class Asker {
 public:
  explicit Asker(const std::string& socket);

  // 0 and *reply, which has `key`: an answer without it is another release's. Otherwise the error has been
  // printed.
  int Ask(const nlohmann::json& request, const char* key, nlohmann::json* reply);
  // The same, with the error as a text: for a screen.
  int Try(const nlohmann::json& request, const char* key, nlohmann::json* reply,
          std::string* error);
  // The next message after "events"; nothing and an empty *error: none within the time.
  std::optional<nlohmann::json> Next(std::string* error, int timeout_ms) {
    return client_ ? client_->Next(error, timeout_ms) : std::nullopt;
  }

 private:
  const std::string socket_;
  std::optional<Client> client_;
};

// What a table shows of a field: "-" when it is not there or null.
std::string Cell(const nlohmann::json& object, const char* key);
std::string Milliseconds(const nlohmann::json& object, const char* key);  // three decimals
// As two spaces a level, with bytes that are not UTF-8 replaced.
void PrintJson(const nlohmann::json& value);

}  // namespace xsched_hsa
