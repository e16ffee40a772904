#include "config.h"

#include <sys/auxv.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

#include "log.h"
#include "queue-ctl/shared_page.h"

namespace xsched_hsa {
namespace {

struct NamedPriority {
  const char* name;
  std::int32_t priority;
};
constexpr NamedPriority kNamedPriorities[] = {
    {"low", kPriorityLow}, {"normal", kPriorityNormal}, {"high", kPriorityHigh}};

constexpr const char* kLogLevelNames[] = {"off", "error", "warn", "info", "debug"};

void CopyText(char* to, std::size_t to_bytes, const char* from) {
  std::snprintf(to, to_bytes, "%s", from != nullptr ? from : "");
}

}  // namespace

bool ParsePriority(const char* text, std::int32_t* priority) {
  for (const NamedPriority& named : kNamedPriorities) {
    if (std::strcmp(text, named.name) == 0) {
      *priority = named.priority;
      return true;
    }
  }
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 0 || value > kPriorityMax) return false;
  *priority = static_cast<std::int32_t>(value);
  return true;
}

bool ParseLogLevel(const char* text, LogLevel* level) {
  for (int i = 0; i < static_cast<int>(std::size(kLogLevelNames)); ++i) {
    if (std::strcmp(text, kLogLevelNames[i]) == 0) {
      *level = static_cast<LogLevel>(i);
      return true;
    }
  }
  return false;
}

bool ParseGate(const char* text, GateRequest* gate) {
  constexpr const char* kNames[] = {"window", "intercept", "none"};
  constexpr GateRequest kGates[] = {GateRequest::kWindow, GateRequest::kIntercept,
                                    GateRequest::kNone};
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (std::strcmp(text, kNames[i]) != 0) continue;
    *gate = kGates[i];
    return true;
  }
  return false;
}

void FindSocketPath(char* path, std::uint32_t path_bytes) {
  if (const char* given = std::getenv("XSCHED_HSA_SOCKET"); given != nullptr && *given != '\0') {
    CopyText(path, path_bytes, given);
    return;
  }
  CopyText(path, path_bytes, "/run/xsched-hsa/control.sock");
  if (access(path, F_OK) == 0) return;
  // The specification of that variable has relative paths ignored; the controller ignores them, too.
  if (const char* runtime = std::getenv("XDG_RUNTIME_DIR"); runtime != nullptr && *runtime == '/') {
    std::snprintf(path, path_bytes, "%s/xsched-hsa/control.sock", runtime);
    if (access(path, F_OK) == 0) return;
  }
  std::snprintf(path, path_bytes, "/tmp/xsched-hsa-%u/control.sock", getuid());
}

void ReadConfig(Config* config) {
  // What a program with rights that its caller lacks has in its environment is that caller's, who has no
  // say over it.
  if (getauxval(AT_SECURE) != 0) {
    config->privileged = config->disabled = true;
    return;
  }
  if (const char* text = std::getenv("XSCHED_HSA_LOG"); text != nullptr) {
    if (!ParseLogLevel(text, &config->log_level)) {
      Log(LogLevel::kError,
          "XSCHED_HSA_LOG is '%.40s', which is none of off, error, warn, info, debug: using warn",
          text);
    }
  }
  SetLogLevel(config->log_level);
  if (const char* text = std::getenv("XSCHED_HSA_DISABLE"); text != nullptr) {
    config->disabled = std::strcmp(text, "1") == 0;
    if (!config->disabled && std::strcmp(text, "0") != 0 && *text != '\0') {
      Log(LogLevel::kError,
          "XSCHED_HSA_DISABLE is '%.40s', which is neither 0 nor 1: using 0, the layer is on",
          text);
    }
  }
  if (const char* text = std::getenv("XSCHED_HSA_DEBUG_TRAP"); text != nullptr) {
    config->debug_trap = std::strcmp(text, "1") == 0;
    if (!config->debug_trap && std::strcmp(text, "0") != 0 && *text != '\0') {
      Log(LogLevel::kError, "XSCHED_HSA_DEBUG_TRAP is '%.40s', which is neither 0 nor 1: using 0",
          text);
    }
  }
  if (const char* text = std::getenv("XSCHED_HSA_PRIORITY"); text != nullptr) {
    if (!ParsePriority(text, &config->priority)) {
      Log(LogLevel::kError,
          "XSCHED_HSA_PRIORITY is '%.40s', which is none of low, normal, high, 0..15: using normal",
          text);
      config->priority = kPriorityNormal;
    }
  }
  if (const char* text = std::getenv("XSCHED_HSA_GATE"); text != nullptr) {
    if (!ParseGate(text, &config->gate)) {
      Log(LogLevel::kError,
          "XSCHED_HSA_GATE is '%.40s', which is none of window, intercept, none: using window",
          text);
    }
  }
  config->has_cu_mask = std::getenv("HSA_CU_MASK") != nullptr;
  CopyText(config->run_token, sizeof(config->run_token), std::getenv("XSCHED_HSA_RUN_TOKEN"));
  FindSocketPath(config->socket_path, sizeof(config->socket_path));
}

}  // namespace xsched_hsa
