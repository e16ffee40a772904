// fake_program.cc: a program in which the layer comes up, without a GPU or a runtime.
//
// Joins the controller named by the environment that `xsched-hsa-ctl run` sets, makes one queue,
// and does what its arguments say: "exit N", "signal N" (kills itself), "wait" (says "ready" on
// stdout and stays until a signal comes, then exits with 40), "gateless".
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "layer_client.h"

using xsched_hsa::GateKind;
using xsched_hsa::testing::LayerClient;
using xsched_hsa::testing::MakeHello;

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "exit";
  const char* socket = std::getenv("XSCHED_HSA_SOCKET");
  const char* token = std::getenv("XSCHED_HSA_RUN_TOKEN");
  const char* priority = std::getenv("XSCHED_HSA_PRIORITY");
  if (socket == nullptr || token == nullptr || priority == nullptr) return 90;
  auto hello = MakeHello(std::atoi(priority), token);
  if (what == "gateless") hello.gate = GateKind::kNone;

  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (what == "wait") sigprocmask(SIG_BLOCK, &signals, nullptr);

  std::string refusal;
  const auto client = LayerClient::Join(socket, hello, &refusal);
  if (client == nullptr) {
    std::fprintf(stderr, "fake_program: %s\n", refusal.c_str());
    return 91;
  }
  client->layer().MakeQueue(0, 1, hello.priority);
  client->TellController();
  if (what == "signal") raise(argc > 2 ? std::atoi(argv[2]) : SIGKILL);
  if (what == "wait") {
    std::puts("ready");
    std::fflush(stdout);
    int signal = 0;
    sigwait(&signals, &signal);
    return 40;
  }
  return argc > 2 ? std::atoi(argv[2]) : 0;
}
