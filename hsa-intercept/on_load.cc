// on_load.cc: what ROCr looks up in a library named by HSA_TOOLS_LIB. The only exported symbols.
//
// The way from here: OnLoad checks the tables (core_table.h), the layer reads its environment and
// tries the controller (layer.h), and the hooks go in (hooks.h). From then on the program's packets
// come through hooks.cc into the gate (window_gate.h), and the pump (pump.h) does what no thread of
// the program is there to do. docs/architecture.md has the picture.
#include <pthread.h>

#include <cstdlib>

#include "core_table.h"
#include "hooks.h"
#include "layer.h"
#include "log.h"

namespace {

void OpenAllAtExit() { xsched_hsa::TheLayer().OpenAll(); }
void AfterFork() { xsched_hsa::TheLayer().AfterForkInChild(); }

void RegisterOnce() {
  static bool registered = false;
  if (registered) return;
  registered = true;
  // Handlers registered now run before the runtime's own, whose teardown may wait for held packets.
  std::atexit(&OpenAllAtExit);
  pthread_atfork(nullptr, nullptr, &AfterFork);
}

}  // namespace

// Always true: ROCr does not undo table edits when a tool declines, and 5.2.3 keeps a closed
// handle.
extern "C" __attribute__((visibility("default"))) bool OnLoad(HsaApiTable* table, uint64_t,
                                                              uint64_t, const char* const*) {
  using namespace xsched_hsa;
  RuntimeVersion version;
  char why[256];
  if (!CheckTables(table, &version, why, sizeof(why))) {
    Log(LogLevel::kError, "%s: passing through", why);
    return true;
  }
  if (!TheLayer().Load(version)) return true;
  RegisterOnce();
  InstallHooks(table, TheLayer().real());
  TheLayer().LookBelow();
  return true;
}

// Not always called (HIP programs skip it): nothing may depend on it.
extern "C" __attribute__((visibility("default"))) void OnUnload() {
  xsched_hsa::TheLayer().OpenAll();
}
