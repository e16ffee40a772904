// What comes to the metrics endpoint, from up to 20 connections that come and go: each whole answer is a status with
// as many bytes as it says, the metrics go to who has asked for them, no descriptor stays, and somebody who asks as
// Prometheus does gets them whatever the others do. Input: how much there is to say, who goes at the end, runs of
// {connection and what it does, its bytes}.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "descriptors.h"
#include "fuzz_target.h"
#include "metrics_endpoint.h"

using namespace xsched_hsa;

namespace {

constexpr std::size_t kPeers = kMetricsPeersMax + 4;
constexpr char kGood[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr int kPatienceMs = 5000;  // longer than that is for ever

struct World {
  World() {
    char path[] = "/tmp/metrics-fuzz-XXXXXX";
    if (mkdtemp(path) == nullptr) std::abort();
    folder = path;
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, (folder / "socket").c_str());
    if (!endpoint.Open("unix:" + (folder / "socket").string()).empty()) std::abort();
    free_descriptor = fuzz::LowestFreeDescriptor();
  }
  ~World() { std::filesystem::remove_all(folder); }

  std::filesystem::path folder;
  sockaddr_un name{};
  std::size_t refreshes = 0;
  std::string text;
  MetricsEndpoint endpoint{[this] { ++refreshes; }, [this] { return text; }, 1};
  int free_descriptor = -1;
};

struct Peer {
  int fd = -1;
  std::size_t came_later = 0;  // connections
  std::string sent, got;
  bool ended = false, went = false;

  bool MayBeReplaced() const { return came_later >= kMetricsPeersMax; }
  bool HasAsked() const { return sent.rfind("GET /metrics ", 0) == 0; }
};

class Peers {
 public:
  explicit Peers(World* world) : world_(world) {}

  Peer& At(std::size_t at) {
    if (peers_[at].fd < 0) Connect(&peers_[at]);
    return peers_[at];
  }
  void Send(Peer* peer, const std::string& bytes) {
    const ssize_t sent = send(peer->fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) peer->sent.append(bytes, 0, static_cast<std::size_t>(sent));
  }
  void Read(Peer* peer) const {
    char buffer[4096];
    ssize_t size;
    while ((size = recv(peer->fd, buffer, sizeof buffer, MSG_DONTWAIT)) > 0) {
      peer->got.append(buffer, static_cast<std::size_t>(size));
    }
    peer->ended = peer->ended || size == 0 || errno != EAGAIN;
  }
  void Close(Peer* peer) {
    if (peer->fd < 0) return;
    Read(peer);
    Check(*peer);
    questions_ += peer->HasAsked() ? 1 : 0;
    close(peer->fd);
    *peer = Peer();
  }
  // The last to come, so that nobody replaces it. Of the others some go at the same moment; their numbers here, which
  // would be the lowest that are free, stay taken.
  void AskLast(std::uint32_t who_goes) {
    Peer last;
    Connect(&last);
    Send(&last, kGood);
    for (std::size_t i = 0; i < kPeers; ++i) {
      if ((who_goes >> i & 1) == 0 || peers_[i].fd < 0) continue;
      shutdown(peers_[i].fd, SHUT_RDWR);
      peers_[i].went = true;
    }
    for (int rounds = 0; !last.ended; ++rounds) {
      pollfd wait{world_->endpoint.descriptor(), POLLIN, 0};
      if (poll(&wait, 1, kPatienceMs) != 1 || rounds > 10'000) std::abort();  // it waits for others
      world_->endpoint.OnReady();
      Read(&last);
    }
    if (last.got.rfind("HTTP/1.1 200 ", 0) != 0 || !IsWhole(last.got)) std::abort();
    Close(&last);
  }
  void CloseAll() {
    for (Peer& peer : peers_) Close(&peer);
    for (int looks = 0; fuzz::LowestFreeDescriptor() != world_->free_descriptor; ++looks) {
      if (looks > 1000) std::abort();  // a connection that has ended stays
      world_->endpoint.OnReady();
    }
    if (world_->refreshes > questions_) std::abort();
  }

 private:
  void Connect(Peer* peer) {
    for (Peer& other : peers_) ++other.came_later;
    const auto* name = reinterpret_cast<const sockaddr*>(&world_->name);
    peer->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    for (int tries = 0; connect(peer->fd, name, sizeof world_->name) != 0; ++tries) {
      if (errno != EAGAIN || tries > 1000) std::abort();
      world_->endpoint.OnReady();  // as many wait as the kernel lets
    }
  }
  static bool IsWhole(const std::string& answer) {
    const std::size_t length = answer.find("\r\nContent-Length: "), body = answer.find("\r\n\r\n");
    if (length == std::string::npos || body == std::string::npos || length > body) return false;
    return std::strtoull(answer.c_str() + length + 18, nullptr, 10) == answer.size() - body - 4;
  }
  static void Check(const Peer& peer) {
    if (peer.got.empty()) return;
    if (peer.got.rfind("HTTP/1.1 ", 0) != 0) std::abort();
    if (peer.ended && !peer.went && !peer.MayBeReplaced() && !IsWhole(peer.got)) std::abort();
    const bool metrics = peer.got.rfind("HTTP/1.1 200 ", 0) == 0;
    if (metrics && !peer.HasAsked()) std::abort();
  }

  World* world_;
  Peer peers_[kPeers];
  std::size_t questions_ = 1;  // AskLast's
};

void Act(fuzz::Input* input, World* world, Peers* peers) {
  const auto what = input->Take<std::uint8_t>();
  const std::size_t at = what % kPeers;
  if (what / kPeers % 8 == 0) {
    // The controller's loop: it looks, and may be late with what it has seen.
    pollfd wait{world->endpoint.descriptor(), POLLIN, 0};
    if (poll(&wait, 1, 0) == 1 && at % 2 == 0) world->endpoint.OnReady();
    return;
  }
  Peer& peer = peers->At(at);
  switch (what / kPeers % 8) {
    case 1:
    case 2: {
      const auto bytes = input->TakeBytes(input->Take<std::uint8_t>());
      return peers->Send(&peer, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
    case 3:
      return peers->Send(&peer, kGood);
    case 4:
      return peers->Send(&peer, std::string(std::size_t{32} * input->Take<std::uint8_t>(), 'a'));
    case 5:
      shutdown(peer.fd, SHUT_WR);
      return;
    case 6:
      return peers->Read(&peer);
    default:
      return peers->Close(&peer);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  world.refreshes = 0;
  fuzz::Input input(data, size);
  // More than a socket holds: the rest goes out when there is room.
  world.text.assign(input.Take<std::uint8_t>() % 4 == 0 ? 400'000 : 40, 'm');
  const auto who_goes = input.Take<std::uint32_t>();
  Peers peers(&world);
  for (int i = 0; i < 100 && !input.empty(); ++i) Act(&input, &world, &peers);
  peers.AskLast(who_goes);
  peers.CloseAll();
  return 0;
}
