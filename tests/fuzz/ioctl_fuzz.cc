// Requests to the device process: ioctls of any number with any argument and payload, in any order, of
// one program that then ends. Faults and parameters are texts of a user, and parsed here too.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>

#include "fuzz_target.h"
#include "gpu.h"
#include "kfd_driver.h"
#include "proc_files.h"
#include "timers.h"

using namespace virtual_gpu;

namespace {

constexpr pid_t kNoProcess = 0x3fffffff;  // memory of the program itself cannot be reached

struct World {
  World() {
    char path[] = "/tmp/virtual-gpu-fuzz-XXXXXX";
    if (mkdtemp(path) == nullptr) std::abort();
    root = path;
    GpuModel model;
    std::string note, error;
    if (!MakeModel({}, &model, &note, &error)) std::abort();
    gpus.push_back(Gpu::Create(0, model, &clock));
    proc_files.Start(root, &gpus);
    driver = std::make_unique<KfdDriver>(&gpus, &clock, &timers, &proc_files, &processes, false);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, sockets) != 0) std::abort();
  }
  ~World() { std::filesystem::remove_all(root); }

  std::filesystem::path root;
  SimClock clock{1};
  Timers timers;
  std::vector<std::unique_ptr<Gpu>> gpus;
  ProcFiles proc_files;
  ProcessTable processes;
  std::unique_ptr<KfdDriver> driver;
  int sockets[2];
};

void Settle(World* world) {
  world->timers.RunDue(INT64_MAX);
  char answer[512];
  while (recv(world->sockets[1], answer, sizeof answer, MSG_DONTWAIT) > 0) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  static std::uint64_t key = 0;
  fuzz::Input input(data, size);
  ++key;
  auto process = Process::Create(key, kNoProcess, key, 1);
  if (process == nullptr) std::abort();
  world.processes[{kNoProcess, key}] = process;
  world.proc_files.AddProcess(*process);
  {
    // Its destructor closes the descriptor.
    auto connection = std::make_shared<Connection>(dup(world.sockets[0]), kNoProcess, 0);
    connection->process = process;
    for (int i = 0; i < 24 && !input.empty(); ++i) {
      Request request;
      request.connection = connection;
      request.header.number = input.Take<std::uint8_t>() % 0x30;
      const auto arg = input.TakeBytes(input.Take<std::uint8_t>());
      const auto payload = input.TakeBytes(input.Take<std::uint8_t>() * std::size_t{4});
      request.arg.assign(arg.begin(), arg.end());
      request.payload.assign(payload.begin(), payload.end());
      // Gpu ids cannot be guessed.
      if (i % 2 == 0 && request.arg.size() >= 8 && request.arg[4] == std::byte{0x2a}) {
        const std::uint32_t id = world.gpus[0]->gpu_id();
        std::memcpy(request.arg.data() + 4, &id, sizeof id);
      }
      world.driver->Ioctl(request);
      Settle(&world);
    }
    FaultRequest fault;
    std::string error;
    const std::string text = fuzz::Text(data, size < 64 ? size : 64);
    ParseFault(text, &fault, &error);
    GpuModel model;
    std::string note;
    if (!MakeModel({"mi308x", "auto", {text}}, &model, &note, &error) && error.empty())
      std::abort();
    world.driver->EndProcess(process.get());
    Settle(&world);
  }
  world.proc_files.RemoveProcess(*process);
  world.processes.clear();
  return 0;
}
