// controller_test.h: what tests of a running controller have in common: a socket, layers, requests.
//
// Threads    the test's.
// Ownership  the folder and what is in it end with the test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "daemon.h"
#include "layer_client.h"
#include "queue-ctl/client.h"

namespace xsched_hsa::testing {

class ControllerTest : public ::testing::Test {
 protected:
  std::unique_ptr<LayerClient> Join(int priority) {
    std::string refusal;
    auto client = LayerClient::Join(socket_, MakeHello(priority), &refusal);
    EXPECT_NE(client, nullptr) << refusal;
    return client;
  }
  std::unique_ptr<LayerClient> JoinWithQueue(int priority) {
    auto client = Join(priority);
    client->layer().MakeQueue(0, 1, priority);
    client->TellController();
    return client;
  }
  // Waits until the controller has set that mode on the client's first queue.
  static bool HasMode(LayerClient& client, std::uint32_t mode) {
    return client.SleepUntil([&] { return client.layer().Slot(0).mode.load() == mode; });
  }
  nlohmann::json Ask(const nlohmann::json& request) {
    std::string error;
    auto client = Client::Connect(socket_, &error);
    if (!client) return {{"error", error}};
    const auto reply = client->Call(request, &error);
    return reply ? *reply : nlohmann::json{{"error", error}};
  }

  TemporaryDirectory directory_;
  const std::string socket_ = directory_.path() + "/control.sock";
};

}  // namespace xsched_hsa::testing
