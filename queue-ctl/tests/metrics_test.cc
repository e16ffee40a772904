// The metrics endpoint of a real controller: what it serves, whom it refuses, and the dashboard that
// is made for it.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "daemon.h"
#include "layer_client.h"
#include "metrics_endpoint.h"

namespace xsched_hsa {
namespace {

using testing::Daemon;
using testing::Finished;
using testing::LayerClient;
using testing::RunProgram;

class MetricsTest : public ::testing::Test {
 protected:
  int ConnectTo(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, path.c_str());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof name), 0) << path;
    const timeval patience{5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
  }
  std::string Receive(int fd) {
    std::string text;
    char buffer[4096];
    for (ssize_t size; (size = recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(size));
    }
    close(fd);
    return text;
  }
  std::string Get(const std::string& request = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") {
    const int fd = ConnectTo(metrics_);
    EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    return Receive(fd);
  }
  std::unique_ptr<LayerClient> JoinWithQueue(int priority = kPriorityLow) {
    std::string refusal;
    HelloMessage hello = testing::MakeHello(priority);
    std::strcpy(hello.comm, "na\"me\\");
    auto client = LayerClient::Join(socket_, hello, &refusal);
    EXPECT_NE(client, nullptr) << refusal;
    client->layer().MakeQueue(0, 5, priority);
    client->TellController();
    return client;
  }

  testing::TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
  const std::string metrics_ = directory_.path() + "/metrics.sock";
  const std::vector<std::string> options_ = {"--metrics", "unix:" + metrics_};
};

// name, labels, value: what Prometheus' parser wants of each line.
TEST_F(MetricsTest, EveryLineIsASampleOrAComment) {
  Daemon daemon(socket_, options_);
  auto client = JoinWithQueue();
  client->layer().process()->requests.marked.Add(2500);
  client->layer().process()->requests.begun.store(1);
  client->layer().Slot(0).packets_held.store(17);
  const std::string reply = Get();
  EXPECT_EQ(reply.rfind("HTTP/1.1 200 OK\r\n", 0), 0u) << reply.substr(0, 200);
  std::istringstream body(reply.substr(reply.find("\r\n\r\n") + 4));
  const std::regex sample(
      R"re([a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? -?[0-9.e+-]+)re");
  std::set<std::string> types;
  for (std::string line; std::getline(body, line);) {
    if (line.rfind("# TYPE ", 0) == 0) {
      EXPECT_TRUE(types.insert(line).second) << "twice: " << line;
    } else if (line.rfind("# HELP ", 0) != 0) {
      EXPECT_TRUE(std::regex_match(line, sample)) << line;
    }
  }
  EXPECT_NE(reply.find("comm=\"na\\\"me\\\\\",uid="), std::string::npos) << reply;
  EXPECT_NE(reply.find("queue=\"5\",gpu=\"0000:03:00.0\"} 17\n"), std::string::npos) << reply;
  const std::regex bucket(R"(xsched_hsa_request_seconds_bucket\{[^}]*le="0\.004096"\} 1)");
  EXPECT_TRUE(std::regex_search(reply, bucket)) << reply;
}

TEST_F(MetricsTest, TheDashboardAsksOnlyForWhatIsServed) {
  Daemon daemon(socket_, options_);
  auto low = JoinWithQueue();
  auto high = JoinWithQueue(kPriorityHigh);
  // A GPU has a level once queues compete on it.
  ASSERT_TRUE(low->SleepUntil([&] { return low->layer().Slot(0).mode.load() != 0; }));
  const std::string reply = Get();
  std::ostringstream dashboard;
  dashboard
      << std::ifstream(XSCHED_HSA_SOURCE_DIR "/tools/packaging/grafana/xsched-hsa.json").rdbuf();
  const std::string text = dashboard.str();
  EXPECT_TRUE(nlohmann::json::accept(text));
  const std::regex name("xsched_hsa_[a-z_]+");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) {
    names.insert(it->str());
  }
  EXPECT_GE(names.size(), 15u);
  for (const std::string& one : names) {
    const bool served = reply.find("\n" + one + "{") != std::string::npos ||
                        reply.find("\n" + one + " ") != std::string::npos;
    EXPECT_TRUE(served) << one << " is not served";
  }
}

// A row begins with a whole name; `_other` after it has the beginning of that name.
bool RowNames(const std::vector<std::string>& row, const std::string& metric) {
  return std::any_of(row.begin(), row.end(), [&](const std::string& word) {
    if (word[0] != '_') return word == metric;
    if (!metric.ends_with(word)) return false;
    const std::string beginning = metric.substr(0, metric.size() - word.size());
    return row[0].rfind(beginning + "_", 0) == 0;
  });
}

TEST_F(MetricsTest, TheDocumentNamesWhatIsServedAndNothingElse) {
  Daemon daemon(socket_, options_);
  auto low = JoinWithQueue();
  auto high = JoinWithQueue(kPriorityHigh);
  ASSERT_TRUE(low->SleepUntil([&] { return low->layer().Slot(0).mode.load() != 0; }));
  std::set<std::string> served;
  std::istringstream reply(Get());
  for (std::string line; std::getline(reply, line);) {
    std::istringstream words(line);
    std::string hash, type, name;
    if (words >> hash >> type >> name && hash == "#" && type == "TYPE") served.insert(name);
  }
  EXPECT_GE(served.size(), 30u);
  std::vector<std::vector<std::string>> rows;
  std::ifstream document(XSCHED_HSA_SOURCE_DIR "/docs/metrics.md");
  const std::regex word("`([a-z_]+)`");
  for (std::string line; std::getline(document, line);) {
    if (line.rfind("| `xsched_hsa_", 0) != 0) continue;
    const std::string cell = line.substr(0, line.find('|', 1));
    rows.emplace_back();
    for (std::sregex_iterator it(cell.begin(), cell.end(), word), end; it != end; ++it) {
      rows.back().push_back((*it)[1]);
    }
  }
  std::size_t named = 0;
  for (const auto& row : rows) named += row.size();
  EXPECT_EQ(named, served.size()) << "one name for each metric";
  for (const std::string& name : served) {
    EXPECT_TRUE(
        std::any_of(rows.begin(), rows.end(), [&](const auto& row) { return RowNames(row, name); }))
        << name << " is not in docs/metrics.md";
  }
}

TEST_F(MetricsTest, OtherPathsMethodsAndNoiseGetAStatus) {
  Daemon daemon(socket_, options_);
  EXPECT_NE(Get("GET / HTTP/1.1\r\n\r\n").find("404"), std::string::npos);
  EXPECT_NE(Get("POST /metrics HTTP/1.1\r\n\r\n").find("405"), std::string::npos);
  EXPECT_NE(Get(std::string(6000, 'x')).find("431"), std::string::npos);
  // Many who say nothing keep nobody out.
  std::vector<int> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(ConnectTo(metrics_));
  EXPECT_NE(Get().find("200 OK"), std::string::npos);
  for (const int fd : silent) close(fd);
}

TEST_F(MetricsTest, WhoHasNoMoreToSayGetsHisAnswer) {
  Daemon daemon(socket_, options_);
  const int fd = ConnectTo(metrics_);
  EXPECT_GT(send(fd, "GET /metrics HTTP/1.0\r\n\r\n", 25, MSG_NOSIGNAL), 0);
  shutdown(fd, SHUT_WR);
  EXPECT_NE(Receive(fd).find("200 OK"), std::string::npos);
}

// Who asks without end wakes everybody's programs no more often than there are answers, and puts none off.
TEST_F(MetricsTest, QuestionsThatWaitTogetherAskTheProgramsOnce) {
  int asked = 0, answers = 0;
  MetricsEndpoint endpoint([&] { ++asked; },
                           [&] {
                             ++answers;
                             return std::string("one 1\n");
                           });
  ASSERT_EQ(endpoint.Open("unix:" + metrics_), "");
  const std::string request = "GET /metrics HTTP/1.1\r\n\r\n";
  std::vector<int> peers;
  for (int i = 0; i < 10; ++i) {
    peers.push_back(ConnectTo(metrics_));
    EXPECT_GT(send(peers.back(), request.data(), request.size(), MSG_NOSIGNAL), 0);
    for (int turns = 0; turns < 4; ++turns) endpoint.OnReady();
  }
  const auto has_answer = [](int fd) {
    char byte;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
  };
  while (!std::all_of(peers.begin(), peers.end(), has_answer)) endpoint.OnReady();
  EXPECT_EQ(asked, answers);
  for (const int fd : peers) close(fd);
}

// Without a descriptor for it the connection is refused: it does not keep the controller awake.
TEST_F(MetricsTest, WithoutDescriptorsAConnectionIsRefused) {
  MetricsEndpoint endpoint([] {}, [] { return std::string("one 1\n"); });
  ASSERT_EQ(endpoint.Open("unix:" + metrics_), "");
  const int peer = ConnectTo(metrics_), another = ConnectTo(metrics_);
  ::testing::internal::CaptureStdout();
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = dup(peer);
  close(next);
  rlimit none = before;
  none.rlim_cur = static_cast<rlim_t>(next);  // all below are taken
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  endpoint.OnReady();
  endpoint.OnReady();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  const std::string said = ::testing::internal::GetCapturedStdout();
  const std::size_t told = said.find("no descriptors left");
  EXPECT_NE(told, std::string::npos) << said;
  EXPECT_EQ(said.find("no descriptors left", told + 1), std::string::npos) << "once\n" << said;
  pollfd look{endpoint.descriptor(), POLLIN, 0};
  EXPECT_EQ(poll(&look, 1, 0), 0) << "the connection still waits";
  EXPECT_EQ(Receive(peer), "");
  EXPECT_EQ(Receive(another), "");
}

TEST_F(MetricsTest, OnlyLoopbackAndOnlyGoodAddresses) {
  for (const char* address :
       {"0.0.0.0:9464", "192.168.0.1:9464", "9464", "127.0.0.1:x", "127.0.0.1:99999",
        "unix:relative", "unix:", "unix:/nowhere/at/all"}) {
    const Finished finished =
        RunProgram({XSCHED_HSA_BIN_DIR "/xsched-hsad", "--socket", socket_, "--metrics", address});
    EXPECT_EQ(finished.code, 2) << address;
    EXPECT_EQ(std::count(finished.err.begin(), finished.err.end(), '\n'), 1) << finished.err;
    EXPECT_NE(finished.err.find("cannot serve metrics"), std::string::npos) << finished.err;
  }
  Daemon tcp(socket_, {"--metrics", "127.0.0.1:0"});
  EXPECT_TRUE(tcp.IsUp());
}

TEST_F(MetricsTest, TheSocketFileGoesWithTheController) {
  Daemon daemon(socket_, options_);
  EXPECT_EQ(access(metrics_.c_str(), F_OK), 0);
  daemon.Stop(SIGTERM);
  EXPECT_NE(access(metrics_.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace xsched_hsa
