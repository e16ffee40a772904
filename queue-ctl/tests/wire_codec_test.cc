// wire_codec_test.cc: greetings good and bad, replies in pieces, requests of every kind of
// nonsense; where the socket is.
#include "wire_codec.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>

#include "manual_clock.h"
#include "policies/registry.h"
#include "queue-ctl/client.h"
#include "queue-ctl/shared_page.h"
#include "requests.h"

namespace xsched_hsa {
namespace {

HelloMessage GoodHello() {
  HelloMessage hello{};
  hello.header = {kWireMagic, kAbiVersion, WireType::kHello, sizeof hello};
  hello.priority = kPriorityHigh;
  hello.namespace_pid = 12;
  hello.gate = GateKind::kWindow;
  std::strcpy(hello.comm, "app");
  std::strcpy(hello.run_token, "token");
  return hello;
}

template <typename T>
std::span<const std::byte> Bytes(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

std::string WhyRefused(const HelloMessage& hello, std::size_t size = sizeof(HelloMessage)) {
  std::string why;
  EXPECT_FALSE(ParseHello(Bytes(hello).first(size), &why));
  return why;
}

TEST(WireCodecTest, GoodHelloIsRead) {
  std::string why;
  const auto info = ParseHello(Bytes(GoodHello()), &why);
  ASSERT_TRUE(info) << why;
  EXPECT_EQ(info->priority, kPriorityHigh);
  EXPECT_EQ(info->namespace_pid, 12u);
  EXPECT_EQ(info->comm, "app");
  EXPECT_EQ(info->run_token, "token");
  EXPECT_EQ(info->gate, GateKind::kWindow);
  EXPECT_EQ(info->pid, 0);
}

TEST(WireCodecTest, EachMistakeIsNamed) {
  HelloMessage hello = GoodHello();
  EXPECT_NE(WhyRefused(hello, 7).find("shorter"), std::string::npos);
  EXPECT_NE(WhyRefused(hello, sizeof hello - 1).find("bytes"), std::string::npos);
  hello.header.magic ^= 1;
  EXPECT_NE(WhyRefused(hello).find("magic"), std::string::npos);
  hello = GoodHello();
  hello.header.abi_version = 99;
  EXPECT_NE(WhyRefused(hello).find("version 99"), std::string::npos);
  hello = GoodHello();
  hello.header.size_bytes = 1;
  EXPECT_FALSE(WhyRefused(hello).empty());
  hello = GoodHello();
  hello.header.type = WireType::kNote;
  EXPECT_FALSE(WhyRefused(hello).empty());
}

TEST(WireCodecTest, RefusalsFitWithTheirText) {
  HelloMessage hello = GoodHello();
  hello.header.abi_version = 4'000'000'000u;
  const WelcomeMessage refusal = MakeRefusal(WhyRefused(hello));
  EXPECT_EQ(refusal.header.type, WireType::kRefused);
  EXPECT_EQ(std::string(refusal.text), WhyRefused(hello)) << "cut off";
  const WelcomeMessage long_one = MakeRefusal(std::string(1000, 'x'));
  EXPECT_EQ(std::strlen(long_one.text), sizeof long_one.text - 1);
}

TEST(WireCodecTest, UnterminatedAndUnprintableTextIsBounded) {
  HelloMessage hello = GoodHello();
  std::memset(hello.comm, 'a', sizeof hello.comm);
  std::memcpy(hello.exe, "\x1b[2J\xff\n", 7);
  hello.priority = -5;
  hello.gate = static_cast<GateKind>(77);
  std::string why;
  const auto info = ParseHello(Bytes(hello), &why);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->comm.size(), sizeof hello.comm);
  EXPECT_EQ(info->exe, "?[2J??");
  EXPECT_EQ(info->priority, 0);
  EXPECT_EQ(info->gate, GateKind::kNone);
}

TEST(WireCodecTest, RepliesAreSplitAndLed) {
  EXPECT_EQ(SplitReply(""), std::vector<std::string>{"."});
  EXPECT_EQ(SplitReply("{}"), std::vector<std::string>{".{}"});
  const std::string text(100'000, 'y');
  std::string joined;
  const auto messages = SplitReply(text);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i][0], i + 1 == messages.size() ? '.' : '+');
    EXPECT_LE(messages[i].size(), kWireMessageMax);
    joined += messages[i].substr(1);
  }
  EXPECT_EQ(joined, text);
}

TEST(WireCodecTest, RandomBytesAreClassifiedOrRefused) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes(random() % 500);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    if (random() % 2 == 0 && bytes.size() >= sizeof(WireHeader)) {
      const WireHeader header{kWireMagic, kAbiVersion, WireType::kHello,
                              static_cast<std::uint32_t>(sizeof(HelloMessage))};
      std::memcpy(bytes.data(), &header, sizeof header);
      if (random() % 2 == 0) bytes.resize(sizeof(HelloMessage));
    }
    std::string why;
    const auto info = ParseHello(bytes, &why);
    EXPECT_EQ(info.has_value(), why.empty()) << "seed " << kSeed;
    ParseNote(bytes);
    ClassifyMessage(bytes);
  }
}

// ---------------------------------------------------------------------------------------- requests

class RequestsTest : public ::testing::Test {
 protected:
  class NoWaker final : public Waker {
   public:
    void Wake(ProcessPage&) override {}
    void Ring(UserPage&) override {}
  };

  nlohmann::json Ask(const std::string& text, Caller caller = {1000, false}) {
    PendingReply pending;
    auto reply = requests_.Handle(text, caller, &pending);
    if (!reply) reply = requests_.Finish(pending);
    return nlohmann::json::parse(*reply);
  }
  std::string Code(const std::string& text) { return Ask(text).value("code", ""); }

  testing::ManualClock clock_{5'000'000};
  NoWaker waker_;
  Core core_{{}, &clock_, MakePolicy("strict-priority", {}), &waker_};
  ControllerInfo info_;
  Requests requests_{&core_, &info_};
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::unique_ptr<ProcessPage> page_ = std::make_unique<ProcessPage>();
};

TEST_F(RequestsTest, NonsenseIsABadRequest) {
  for (const char* text :
       {"{", "{}", "[]", "3", "{\"op\":3}", "{\"op\":\"hold\"}", "{\"op\":\"hold\",\"pid\":\"7\"}",
        "{\"op\":\"hold\",\"pid\":-7}", "{\"op\":\"hold\",\"pid\":99999999999999999999}",
        "{\"op\":\"hold\",\"pid\":1.5}", "{\"op\":\"set-priority\",\"pid\":7}",
        "{\"op\":\"set-priority\",\"pid\":7,\"priority\":\"x\"}",
        "{\"op\":\"set-priority\",\"pid\":7,\"priority\":16}",
        "{\"op\":\"hold\",\"pid\":7,\"queue\":-1}"}) {
    EXPECT_EQ(Code(text), "bad-request") << text;
  }
  EXPECT_EQ(Code("{\"op\":\"hold\",\"pid\":7}"), "not-found");
  EXPECT_EQ(Code("{\"op\":\"fly\"}"), "unknown-op") << "of a tool of another release";
}

TEST_F(RequestsTest, DeepNestingIsSurvived) {
  EXPECT_EQ(Code("{\"op\":" + std::string(60'000, '[')), "bad-request");
  EXPECT_EQ(Code("{\"op\":" + std::string(30'000, '[') + std::string(30'000, ']') + "}"),
            "bad-request");
}

TEST_F(RequestsTest, ListWaitsForMirrorsAndMarksStaleOnes) {
  LayerInfo layer;
  layer.uid = 1000;
  layer.pid = 7;
  layer.gate = GateKind::kWindow;
  layer.run_token = "t";
  Core::InitUserPage(user_.get(), 1000);
  core_.AddSession(layer, page_.get(), user_.get());
  PendingReply pending;
  ASSERT_FALSE(requests_.Handle("{\"op\":\"list\"}", {1000, false}, &pending));
  EXPECT_FALSE(requests_.IsReady(pending));
  EXPECT_EQ(pending.deadline_us, clock_.NowUs() + kRefreshWaitUs);
  auto process = nlohmann::json::parse(requests_.Finish(pending)).at("processes").at(0);
  EXPECT_FALSE(process.at("refreshed").get<bool>());
  page_->refreshed.store(page_->refresh.load());
  EXPECT_TRUE(requests_.IsReady(pending));
  process = nlohmann::json::parse(requests_.Finish(pending)).at("processes").at(0);
  EXPECT_TRUE(process.at("refreshed").get<bool>());
  EXPECT_EQ(process.at("gate"), "window");
}

TEST_F(RequestsTest, ListShowsOnlyOnesOwnAndEndedOnesOnRequest) {
  LayerInfo layer;
  layer.uid = 1000;
  layer.run_token = "mine";
  Core::InitUserPage(user_.get(), 1000);
  const std::uint32_t session = core_.AddSession(layer, page_.get(), user_.get());
  const auto count = [&](const char* text, Caller caller) {
    return Ask(text, caller).at("processes").size();
  };
  EXPECT_EQ(count("{\"op\":\"list\"}", {1000, false}), 1u);
  EXPECT_EQ(count("{\"op\":\"list\"}", {2000, false}), 0u);
  EXPECT_EQ(count("{\"op\":\"list\"}", {0, true}), 1u);
  core_.EndSession(session);
  EXPECT_EQ(count("{\"op\":\"list\"}", {1000, false}), 0u);
  EXPECT_EQ(count("{\"op\":\"list\",\"all\":true}", {1000, false}), 1u);
  EXPECT_EQ(count("{\"op\":\"list\",\"all\":true,\"run_token\":\"mine\"}", {1000, false}), 1u);
  EXPECT_EQ(count("{\"op\":\"list\",\"all\":true,\"run_token\":\"x\"}", {1000, false}), 0u);
}

TEST_F(RequestsTest, RandomRequestsGetAnAnswer) {
  constexpr unsigned kSeed = 11;
  std::mt19937 random(kSeed);
  const std::string words[] = {"{",        "}",     "\"op\"",      ":",    "\"list\"", ",",
                               "\"pid\"",  "7",     "-1",          "[",    "]",        "null",
                               "\"hold\"", "1e999", "\"\\ud800\"", "\xff", "true"};
  for (int i = 0; i < 5000; ++i) {
    std::string text = "{";
    for (unsigned n = random() % 12; n > 0; --n) text += words[random() % std::size(words)];
    EXPECT_TRUE(Ask(text).contains("ok")) << "seed " << kSeed << ": " << text;
  }
}

// ---------------------------------------------------------------------------------------- the socket

// The layer's side of the same rule: ConfigTest.TheRuntimeDirCountsOnlyWhereItIsAbsolute.
TEST(SocketPathTest, TheRuntimeDirCountsOnlyWhereItIsAbsolute) {
  if (access("/run/xsched-hsa/control.sock", F_OK) == 0)
    GTEST_SKIP() << "a controller of the system runs here";
  unsetenv("XSCHED_HSA_SOCKET");
  const std::string without = "/tmp/xsched-hsa-" + std::to_string(geteuid()) + "/control.sock";
  for (const char* relative : {"", ".", "run/user", "./run"}) {
    setenv("XDG_RUNTIME_DIR", relative, 1);
    EXPECT_EQ(DefaultSocketPath(), without) << relative;
  }
  setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  EXPECT_EQ(DefaultSocketPath(), "/run/user/7/xsched-hsa/control.sock");
  unsetenv("XDG_RUNTIME_DIR");
  EXPECT_EQ(DefaultSocketPath(), without);
}

}  // namespace
}  // namespace xsched_hsa
