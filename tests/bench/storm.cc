// controller-storm: programs that join a running controller and send it events at a rate.
//
// Usage      controller-storm SOCKET SESSIONS QUEUES RATE SECONDS HELD. One session is urgent, the others are
//            not; the urgent one begins and ends requests RATE times a second, each an event. RATE 0: idle.
//            HELD of the others have a gate that closes each time, and so are woken at the end.
// Output     "joined" when the controller has answered for all, "events N" at the end; then a line on
//            standard input is waited for. Real controller, real pages, no device.
// Errors     one line on stderr, exit 1.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "clock.h"
#include "layer_client.h"

namespace xsched_hsa {
namespace {

using testing::LayerClient;

[[noreturn]] void Fail(const std::string& text) {
  std::fprintf(stderr, "controller-storm: %s\n", text.c_str());
  std::exit(1);
}

std::unique_ptr<LayerClient> Join(const std::string& socket, int priority, std::uint32_t queues) {
  std::string refusal;
  auto client = LayerClient::Join(socket, testing::MakeHello(priority), &refusal);
  if (client == nullptr) Fail(refusal);
  for (std::uint32_t i = 0; i < queues; ++i) client->layer().MakeQueue(i, i + 1, priority);
  client->TellController();
  return client;
}

// In batches of at most a millisecond's, so that sleeping is exact enough.
std::uint64_t Storm(const std::vector<std::unique_ptr<LayerClient>>& clients, std::uint64_t rate,
                    std::uint64_t seconds, std::uint64_t held) {
  LayerClient* const high = clients[0].get();
  const SteadyClock clock;
  const std::uint64_t began_us = clock.NowUs(), end_us = began_us + seconds * 1'000'000;
  std::uint64_t sent = 0;
  for (std::uint64_t now_us = began_us; now_us < end_us; now_us = clock.NowUs()) {
    const std::uint64_t due = (now_us - began_us) * rate / 1'000'000;
    for (; sent < due; ++sent) {
      if (sent % 2 == 0) {
        high->layer().BecomeActive(0);
        for (std::uint64_t i = 1; i <= held; ++i) clients[i]->layer().GateClosed(0);
      } else {
        high->layer().BecomeIdle(0);
      }
      high->TellController();
    }
    usleep(500);
  }
  high->layer().BecomeIdle(0);
  high->TellController();
  return sent;
}

}  // namespace
}  // namespace xsched_hsa

int main(int argc, char** argv) {
  using namespace xsched_hsa;
  if (argc != 7) Fail("usage: controller-storm SOCKET SESSIONS QUEUES RATE SECONDS HELD");
  const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
  std::vector<std::unique_ptr<LayerClient>> clients;
  const auto queues = static_cast<std::uint32_t>(number(3));
  clients.push_back(Join(argv[1], kPriorityHigh, queues));
  for (std::uint64_t i = 1; i < number(2); ++i)
    clients.push_back(Join(argv[1], kPriorityLow, queues));
  if (number(6) >= number(2)) Fail("HELD are some of the other sessions");
  const bool both = number(2) > 1;
  if (!clients[0]->SleepUntil([&] {
        return !both || clients[0]->layer().Slot(queues - 1).mode.load() == kModeRaise;
      })) {
    Fail("the controller does not answer");
  }
  std::printf("joined\n");
  std::fflush(stdout);
  char line[8];
  if (std::fgets(line, sizeof(line), stdin) == nullptr) return 1;
  std::printf("events %lu\n",
              static_cast<unsigned long>(Storm(clients, number(4), number(5), number(6))));
  std::fflush(stdout);
  if (std::fgets(line, sizeof(line), stdin) == nullptr) return 1;
  return 0;
}
