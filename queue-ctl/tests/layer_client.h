// layer_client.h: joins a running controller as a layer does, for tests.
//
// Ownership  owns the socket, the mappings and the eventfd.
// Errors     Join returns nothing; `refusal` then has the controller's text, or what failed here.
#pragma once

#include <memory>
#include <string>

#include "fake_layer.h"
#include "queue-ctl/wire.h"

namespace xsched_hsa::testing {

HelloMessage MakeHello(int priority, const std::string& run_token = "");

class LayerClient {
 public:
  static std::unique_ptr<LayerClient> Join(const std::string& socket_path,
                                           const HelloMessage& hello, std::string* refusal);
  ~LayerClient();
  LayerClient(const LayerClient&) = delete;
  LayerClient& operator=(const LayerClient&) = delete;

  FakeLayer& layer() { return *layer_; }
  std::uint32_t session() const { return session_; }
  int seals() const { return seals_; }  // of the process page
  int event_fd() const { return event_fd_; }
  int socket_fd() const { return socket_; }
  void TellController();
  // Waits on `wake`, as a pump does, until done() or the time is up.
  template <typename Done>
  bool SleepUntil(Done done, int timeout_ms = 5000) {
    for (int waited_ms = 0; !done() && waited_ms < timeout_ms; waited_ms += 5) WaitForWake(5);
    return done();
  }

 private:
  LayerClient() = default;
  bool Receive(std::string* refusal);
  void WaitForWake(int timeout_ms);

  int socket_ = -1, event_fd_ = -1, seals_ = 0;
  std::uint32_t session_ = 0;
  ProcessPage* process_ = nullptr;
  UserPage* user_ = nullptr;
  std::unique_ptr<FakeLayer> layer_;
};

}  // namespace xsched_hsa::testing
