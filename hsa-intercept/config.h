// config.h: what the environment says to the layer.
//
// Why        The only configuration inside somebody else's process; everything else is the
//            controller's.
// Threads    ReadConfig once, from OnLoad; the result never changes after.
// Errors     a word that can't be understood is logged in one line and its default is used: the
//            program must run on.
// See        docs/environment.md
#pragma once

#include <cstdint>

namespace xsched_hsa {

enum class LogLevel : int { kOff = 0, kError = 1, kWarn = 2, kInfo = 3, kDebug = 4 };

// Which gate a queue shall have, as far as it can be had (gate_choice.h).
enum class GateRequest { kDefault, kWindow, kIntercept, kNone };

struct Config {
  bool disabled = false;                     // XSCHED_HSA_DISABLE=1, or privileged
  bool privileged = false;                   // AT_SECURE: setuid, setgid, capabilities of its file
  LogLevel log_level = LogLevel::kWarn;      // XSCHED_HSA_LOG
  std::int32_t priority = 7;                 // XSCHED_HSA_PRIORITY, KFD 0..15
  char socket_path[256] = {};                // XSCHED_HSA_SOCKET, or the first default that exists
  bool has_cu_mask = false;                  // HSA_CU_MASK, ROCr's own
  GateRequest gate = GateRequest::kDefault;  // XSCHED_HSA_GATE
  bool debug_trap = false;                   // XSCHED_HSA_DEBUG_TRAP=1 (kfd_debug_session.h)
  char run_token[40] = {};                   // XSCHED_HSA_RUN_TOKEN
};

// Reads XSCHED_HSA_*, nothing of it in a privileged program. `config` is complete whatever the
// environment holds.
void ReadConfig(Config* config);

// "low", "normal", "high" or a number 0..15. False when `text` is none of these.
bool ParsePriority(const char* text, std::int32_t* priority);
bool ParseLogLevel(const char* text, LogLevel* level);
bool ParseGate(const char* text, GateRequest* gate);

// The socket of wire.h's rule, looked up anew (a controller may have started since).
void FindSocketPath(char* path, std::uint32_t path_bytes);

}  // namespace xsched_hsa
