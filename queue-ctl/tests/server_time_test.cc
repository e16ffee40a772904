// server_time_test.cc: what many requests at once take of the controller's time, and of whom. The server runs here, on
// a clock that moves by being read, and under a policy that stops it: what comes meanwhile comes in one turn.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <thread>

#include "controller_test.h"
#include "core.h"
#include "page_waker.h"
#include "server.h"
#include "socket_path.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::FakeLayer;

// Lets everybody run. Where it is told to, the controller stands in the middle of a decision.
class StoppingPolicy final : public Policy {
 public:
  std::string_view Name() const override { return "stopping"; }
  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    answer->Reset(snapshot.queues.size());
    while (stop_.load()) {
      stands_.store(true);
      usleep(1000);
    }
  }
  void Stop() { stop_.store(true); }
  void GoOn() { stop_.store(false); }
  bool Stands() const { return stands_.load(); }

 private:
  std::atomic<bool> stop_{false};
  mutable std::atomic<bool> stands_{false};
};

// Each reading is 3 ms later: whatever is done takes its time.
class RunningClock final : public Clock {
 public:
  std::uint64_t NowUs() const override { return now_us_.fetch_add(3'000); }

 private:
  mutable std::atomic<std::uint64_t> now_us_{10'000'000};
};

// A program that is only in the core, with one queue, which an operator holds.
struct HeldProgram {
  explicit HeldProgram(Core* core) {
    Core::InitUserPage(user.get(), 4242);
    LayerInfo info;
    info.uid = 4242;
    info.pid = 77;
    info.gate = GateKind::kWindow;
    const std::uint32_t session = core->AddSession(info, page.get(), user.get());
    FakeLayer layer(page.get(), user.get(), [] { return 0; });
    layer.MakeQueue(0, 1, kPriorityLow);
    core->OnLayerEvent(session);
    int changed = 0;
    EXPECT_TRUE(core->SetHold({0, true}, {77, std::nullopt}, kHoldPackets, &changed).ok());
    EXPECT_EQ(changed, 1);
  }
  std::unique_ptr<ProcessPage> page = std::make_unique<ProcessPage>();
  std::unique_ptr<UserPage> user = std::make_unique<UserPage>();
};

// Sends without waiting for the answer.
class Tool {
 public:
  explicit Tool(const std::string& path) : fd_(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un address;
    FillAddress(path, &address);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    Send({{"op", "info"}});
    EXPECT_TRUE(Next().value("ok", false)) << "accepted";
  }
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;
  ~Tool() { close(fd_); }
  void Send(const json& request) {
    const std::string text = request.dump();
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  json Next() {
    std::string reply;
    char part[kWireMessageMax];
    do {
      const ssize_t size = recv(fd_, part, sizeof part, 0);
      if (size <= 0) return {};
      reply.append(part + 1, static_cast<std::size_t>(size) - 1);
    } while (part[0] == '+');
    return json::parse(reply, nullptr, false);
  }

 private:
  const int fd_;
};

class ServerTimeTest : public testing::ControllerTest {
 protected:
  ServerTimeTest() {
    sigemptyset(&mask_);
    pthread_sigmask(SIG_BLOCK, nullptr, &mask_);
    auto policy = std::make_unique<StoppingPolicy>();
    policy_ = policy.get();
    core_ = std::make_unique<Core>(Core::Options{}, &clock_, std::move(policy), &waker_);
    held_ = std::make_unique<HeldProgram>(core_.get());
    ServerOptions options;
    options.socket_path = socket_;
    events_ = std::make_unique<Events>(&clock_);
    server_ = std::make_unique<Server>(options, core_.get(), &info_, nullptr, events_.get());
    EXPECT_EQ(server_->Open(), "");
    thread_ = std::thread([this] { server_->Run(); });
  }
  ~ServerTimeTest() override {
    if (thread_.joinable()) End();
    pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }
  // SIGTERM is blocked here, and the server's to read.
  void End() {
    policy_->GoOn();
    kill(getpid(), SIGTERM);
    thread_.join();
  }
  // From here to GoOn nothing is answered.
  void StopBy(Tool* tool) {
    const json order = {{"op", "set-priority"}, {"pid", 77}, {"priority", 3}};
    tool->Send(order);
    EXPECT_TRUE(tool->Next().value("ok", false));
    policy_->Stop();
    tool->Send(order);
    while (!policy_->Stands()) usleep(1000);
  }

  sigset_t mask_;
  RunningClock clock_;
  testing::PageWaker waker_;
  StoppingPolicy* policy_ = nullptr;
  std::unique_ptr<Core> core_;
  std::unique_ptr<HeldProgram> held_;
  ControllerInfo info_;
  std::unique_ptr<Events> events_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
};

// Nothing of them concerns a queue, so nothing else renews.
TEST_F(ServerTimeTest, AFloodOfQuestionsDoesNotEndAHold) {
  Tool stopper(socket_);
  std::vector<std::unique_ptr<Tool>> tools;
  for (int i = 0; i < 40; ++i) tools.push_back(std::make_unique<Tool>(socket_));
  StopBy(&stopper);
  const std::uint32_t orders = held_->page->orders.load();
  for (auto& tool : tools) tool->Send({{"op", "info"}});
  policy_->GoOn();
  for (auto& tool : tools) EXPECT_TRUE(tool->Next().value("ok", false));
  End();
  EXPECT_EQ(held_->page->orders.load(), orders) << "a lease lapsed, and its program was told";
}

// A list takes longer than the controller gives to lists in one turn: one is answered, or two.
TEST_F(ServerTimeTest, WhoAsksAgainAndAgainKeepsNobodyWaiting) {
  Tool stopper(socket_), first(socket_), second(socket_), third(socket_), last(socket_);
  StopBy(&stopper);
  constexpr int kAsked = 40;
  for (Tool* tool : {&first, &second, &third}) {
    for (int i = 0; i < kAsked; ++i) tool->Send({{"op", "list"}});
  }
  last.Send({{"op", "stats"}});
  policy_->GoOn();
  const json stats = last.Next();
  ASSERT_TRUE(stats.value("ok", false)) << stats;
  EXPECT_LT(stats["counters"]["deferred_replies"], kAsked / 2) << "the others came first";
  for (Tool* tool : {&first, &second, &third}) {
    for (int i = 0; i < kAsked; ++i) EXPECT_TRUE(tool->Next().value("ok", false));
  }
}

}  // namespace
}  // namespace xsched_hsa
