#include "ask.h"

#include <cstdio>
#include <iostream>

#include "arguments.h"

namespace xsched_hsa {

using nlohmann::json;

Asker::Asker(const std::string& socket) : socket_(socket.empty() ? DefaultSocketPath() : socket) {}

int Asker::Try(const json& request, json* reply, std::string* error) {
  if (!client_) client_ = Client::Connect(socket_, error);
  if (!client_) return kExitNoController;
  auto answer = client_->Call(request, error);
  if (!answer) {
    client_.reset();
    return kExitNoController;
  }
  if (answer->value("ok", false)) {
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

int Asker::Ask(const json& request, json* reply) {
  std::string error;
  const int code = Try(request, reply, &error);
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
