#include "ask.h"

#include <cstdio>
#include <iostream>

#include "arguments.h"
#include "queue-ctl/wire.h"

namespace xsched_hsa {

using nlohmann::json;

Asker::Asker(const std::string& socket) : socket_(socket.empty() ? DefaultSocketPath() : socket) {}

int Asker::Try(const json& request, const char* key, json* reply, std::string* error) {
  // The controller would close the connection.
  if (request.dump(-1, ' ', false, json::error_handler_t::replace).size() > kWireMessageMax) {
    *error = "these words are more than the " + std::to_string(kWireMessageMax) +
             " bytes that a request may have";
    return kExitBadInput;
  }
  if (!client_) client_ = Client::Connect(socket_, error);
  if (!client_) return kExitNoController;
  auto answer = client_->Call(request, error);
  if (!answer) {
    client_.reset();
    return kExitNoController;
  }
  const auto ok = answer->find("ok");
  const bool is_told = ok != answer->end() && ok->is_boolean();
  const bool done = is_told && ok->get<bool>();
  if (!is_told || (done && !answer->contains(key))) {
    *error = "the controller at " + socket_ +
             " answers what release " XSCHED_HSA_VERSION
             " does not read; use tool and controller of one release (--version)";
    return kExitNoController;
  }
  if (done) {
    *reply = std::move(*answer);
    return 0;
  }
  if (answer->value("code", "") == "unknown-op") {
    *error = "the controller at " + socket_ + " does not know '" + request.value("op", "") +
             "': it is release " + answer->value("version", "unknown") + ", this tool is " +
             XSCHED_HSA_VERSION + "; use both of one release";
    return kExitNoController;
  }
  *error = answer->value("error", "the controller refused without a reason");
  return kExitBadInput;
}

int Asker::Ask(const json& request, const char* key, json* reply) {
  std::string error;
  const int code = Try(request, key, reply, &error);
  return code == 0 ? 0 : Fail(error, code);
}

std::string Cell(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return "-";
  if (it->is_string()) return it->get<std::string>().empty() ? "-" : it->get<std::string>();
  if (it->is_number_float()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", it->get<double>());
    return text;
  }
  return it->dump();
}

std::string Milliseconds(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", it->get<double>());
  return text;
}

void PrintJson(const json& value) {
  std::cout << value.dump(2, ' ', false, json::error_handler_t::replace) << "\n";
}

}  // namespace xsched_hsa
