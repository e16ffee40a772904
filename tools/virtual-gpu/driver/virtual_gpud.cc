// virtual_gpud.cc: the device process. `virtual-gpu run` and `virtual-gpu start` start it.

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "gpu_model.h"
#include "report.h"
#include "server.h"

namespace {

constexpr int kBadInput = 2;
constexpr double kTimeScaleMin = 0.01, kTimeScaleMax = 10'000;
constexpr std::uint32_t kGpusMax = virtual_gpu::rpc::kGpusMax;

void OnSignal(int) { virtual_gpu::Server::RequestStop(); }

void InstallSignals() {
  struct sigaction action = {};
  action.sa_handler = OnSignal;
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
}

// A program has five connections, and one more for each further thread that waits in an ioctl.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace virtual_gpu;
  ServerOptions options;
  ModelRequest request;
  std::string directory;
  bool quiet = false;
  CLI::App app{"The device process of the virtual GPU; normally started by virtual-gpu."};
  app.add_option("--dir", directory, "Directory for the socket and the generated files")
      ->required();
  app.add_option("--profile", request.profile, "Which GPU to be");
  app.add_option("--isa", request.isa, "ISA name to show: auto, gfx908, gfx90a, gfx942, gfx950");
  app.add_option("--param", request.params, "KEY=NUMBER, a device parameter")->take_all();
  app.add_option("--gpus", options.gpus)->check(CLI::Range(1u, kGpusMax));
  app.add_option("--time-scale", options.time_scale, "Slow the device down by this factor")
      ->check(CLI::Range(kTimeScaleMin, kTimeScaleMax));
  app.add_flag("--stay", options.stay, "Do not stop after the last user");
  app.add_option("--grace-ms", options.grace_ms, "How long to wait for another user");
  app.add_flag("--strict", options.strict, "Stop at the first thing that is not modelled");
  app.add_option("--ready-fd", options.ready_fd, "Descriptor that gets a byte when listening");
  app.add_flag("--quiet", quiet, "Do not say which ISA is shown");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::fprintf(stderr, "virtual-gpud: %s\n", e.what());
    return kBadInput;
  }
  std::string note, error;
  if (!MakeModel(request, &options.model, &note, &error)) {
    std::fprintf(stderr, "virtual-gpud: %s\n", error.c_str());
    return kBadInput;
  }
  if (!quiet) std::fprintf(stderr, "virtual-gpu: %s\n", note.c_str());
  options.directory = directory;
  RaiseDescriptorLimit();
  Server server(options);
  if (!server.Start()) return kBadInput;
  InstallSignals();
  server.Run();
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "virtual-gpud: %s: the device ends\n", e.what());
  return 1;
}
