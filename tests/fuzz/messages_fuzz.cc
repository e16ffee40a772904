// What comes to the device process's socket: messages with any bytes, with lengths that are wrong, with descriptors
// attached, on connections that come and go. Each reply is as long as it says; whoever comes afterwards is served, no
// descriptor stays and nobody counts as there any more. What ioctls do is the target `ioctl`'s: the memory behind
// them would be this program's own. Input: a name, runs of {connection and what it does, its bytes}.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "descriptors.h"
#include "faults.h"
#include "fuzz_target.h"
#include "rpc_protocol.h"
#include "server.h"

using namespace virtual_gpu;

namespace {

constexpr std::size_t kClients = 4;
constexpr int kLooksMax = 2000;  // of a millisecond: longer than that is for ever

struct World {
  World() {
    char path[] = "/dev/shm/virtual-gpu-fuzz-XXXXXX";  // in memory: each process is a dozen files
    if (mkdtemp(path) == nullptr) std::abort();
    options.directory = path;
    options.stay = true;
    std::string note, error;
    if (!MakeModel({}, &options.model, &note, &error)) std::abort();
    server = std::make_unique<Server>(options);
    if (!server->Start()) std::abort();
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, (options.directory / rpc::kSocketName).c_str());
    free_descriptor = fuzz::LowestFreeDescriptor();
  }
  ~World() {
    server.reset();
    std::filesystem::remove_all(options.directory);
  }

  ServerOptions options;
  std::unique_ptr<Server> server;
  sockaddr_un name{};
  int free_descriptor = -1;
};

struct Client {
  int fd = -1;
  void Open(const World& world) {
    if (fd >= 0) return;
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const auto* name = reinterpret_cast<const sockaddr*>(&world.name);
    if (connect(fd, name, sizeof world.name) != 0) std::abort();
  }
  void Close() {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

struct Reply {
  rpc::ReplyHeader header;
  std::vector<std::byte> body;
  std::vector<int> fds;
  ~Reply() {
    for (const int fd : fds) close(fd);
  }
};

// False where there is none.
bool Receive(const Client& client, Reply* reply) {
  static std::vector<std::byte> buffer(rpc::kMessageBytesMax * 2);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 64)];
  iovec part{buffer.data(), buffer.size()};
  msghdr in{};
  in.msg_iov = &part;
  in.msg_iovlen = 1;
  in.msg_control = control;
  in.msg_controllen = sizeof control;
  const ssize_t got = recvmsg(client.fd, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got <= 0) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&in); c != nullptr; c = CMSG_NXTHDR(&in, c)) {
    reply->fds.resize((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(reply->fds.data(), CMSG_DATA(c), reply->fds.size() * sizeof(int));
  }
  const auto bytes = static_cast<std::size_t>(got);
  if (bytes < sizeof reply->header) std::abort();
  std::memcpy(&reply->header, buffer.data(), sizeof reply->header);
  const rpc::ReplyHeader& h = reply->header;
  if (h.magic != rpc::kMagic || sizeof h + std::uint64_t{h.arg_bytes} + h.payload_bytes != bytes) {
    std::abort();
  }
  reply->body.assign(buffer.begin() + sizeof h, buffer.begin() + got);
  return true;
}

// Events are the process's own; other ioctls reach memory. A fault may be to end the device process.
bool IsHarmless(const std::vector<std::byte>& message) {
  rpc::RequestHeader h;
  if (message.size() < sizeof h) return true;
  std::memcpy(&h, message.data(), sizeof h);
  if (h.kind == rpc::Kind::kKfdIoctl) {
    return h.number == 0x01 || (h.number >= 0x08 && h.number <= 0x0c) || h.number > 0x26;
  }
  if (h.kind != rpc::Kind::kFault) return true;
  const auto* text = reinterpret_cast<const char*>(message.data()) + sizeof h;
  FaultRequest fault;
  std::string error;
  return !ParseFault({text, strnlen(text, message.size() - sizeof h)}, &fault, &error) ||
         fault.fault != FaultKind::kDie;
}

void Send(const Client& client, const std::vector<std::byte>& message, bool attach = false) {
  if (!IsHarmless(message)) return;
  iovec part{const_cast<std::byte*>(message.data()), message.size()};
  msghdr out{};
  out.msg_iov = &part;
  out.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 2)]{};
  if (attach) {
    out.msg_control = control;
    out.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&out);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int) * 2);
    const int fds[2] = {client.fd, client.fd};
    std::memcpy(CMSG_DATA(rights), fds, sizeof fds);
  }
  sendmsg(client.fd, &out, MSG_NOSIGNAL | MSG_DONTWAIT);
}

std::vector<std::byte> Framed(rpc::RequestHeader header, std::span<const std::byte> arg,
                              std::span<const std::byte> payload) {
  header.arg_bytes = static_cast<std::uint32_t>(arg.size());
  header.payload_bytes = static_cast<std::uint32_t>(payload.size());
  const auto bytes = std::as_bytes(std::span(&header, 1));
  std::vector<std::byte> message(bytes.begin(), bytes.end());
  message.insert(message.end(), arg.begin(), arg.end());
  message.insert(message.end(), payload.begin(), payload.end());
  return message;
}

std::vector<std::byte> TakeMessage(fuzz::Input* input) {
  rpc::RequestHeader header;
  header.kind = static_cast<rpc::Kind>(input->Take<std::uint8_t>() % 10);
  header.number = input->Take<std::uint8_t>();
  const auto arg = input->TakeBytes(input->Take<std::uint16_t>() % (rpc::kArgBytesMax + 8));
  const auto payload = input->TakeBytes(input->Take<std::uint8_t>() * 4u);
  return Framed(header, arg, payload);
}

void Act(fuzz::Input* input, World* world, std::array<Client, kClients>* clients) {
  const auto what = input->Take<std::uint8_t>();
  Client& client = (*clients)[what % kClients];
  client.Open(*world);
  switch (what / kClients % 8) {
    case 0:
      world->server->Turn(0);
      return;
    case 1: {
      const auto bytes = input->TakeBytes(input->Take<std::uint8_t>());
      return Send(client, {bytes.begin(), bytes.end()});
    }
    case 2: {  // lengths that are not what comes
      auto message = TakeMessage(input);
      const auto lengths = input->Take<std::uint64_t>();
      std::memcpy(message.data() + offsetof(rpc::RequestHeader, arg_bytes), &lengths, 8);
      return Send(client, message);
    }
    case 3:
      return Send(client, TakeMessage(input), true);
    case 4: {  // longer than may be
      const std::vector<std::byte> much(rpc::kMessageBytesMax - 64u + input->Take<std::uint8_t>());
      return Send(client, Framed({}, {}, much));
    }
    case 5:
      return client.Close();
    case 6: {
      Reply reply;
      Receive(client, &reply);
      return;
    }
    default:
      return Send(client, TakeMessage(input));
  }
}

// Waits for a reply as long as the server has something to do.
void Ask(World* world, const Client& client, rpc::Kind kind, std::span<const std::byte> arg,
         Reply* reply) {
  rpc::RequestHeader header;
  header.kind = kind;
  Send(client, Framed(header, arg, {}));
  for (int looks = 0; !Receive(client, reply); ++looks) {
    if (looks > kLooksMax) std::abort();
    world->server->Turn(1);
  }
  if (reply->header.error != 0) std::abort();
}

void ExpectServed(World* world) {
  Client client;
  client.Open(*world);
  std::vector<std::byte> arg(sizeof(rpc::HelloReply));
  rpc::Hello hello;
  hello.nonce = ~0ull;
  std::memcpy(arg.data(), &hello, sizeof hello);
  Reply greeted, stats;
  Ask(world, client, rpc::Kind::kHello, arg, &greeted);
  if (greeted.fds.size() != 2 || greeted.body.size() != arg.size()) std::abort();
  Ask(world, client, rpc::Kind::kStats, {}, &stats);
  if (stats.fds.size() != 1) std::abort();
  std::string text(1 << 20, '\0');
  const ssize_t bytes = pread(stats.fds[0], text.data(), text.size(), 0);
  if (bytes <= 0 || !nlohmann::json::accept(text.substr(0, static_cast<std::size_t>(bytes)))) {
    std::abort();
  }
  client.Close();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  fuzz::Input input(data, size);
  // As /proc/PID/comm has it: any bytes.
  char command[16]{};
  const auto name = input.TakeBytes(8);
  std::copy(name.begin(), name.end(), reinterpret_cast<std::byte*>(command));
  prctl(PR_SET_NAME, command);
  std::array<Client, kClients> clients;
  for (int i = 0; i < 60 && !input.empty(); ++i) Act(&input, &world, &clients);
  ExpectServed(&world);
  for (Client& client : clients) client.Close();
  for (int looks = 0;
       world.server->InUse() || fuzz::LowestFreeDescriptor() != world.free_descriptor; ++looks) {
    if (looks > kLooksMax)
      std::abort();  // somebody has gone and still counts, or a descriptor stays
    world.server->Turn(1);
  }
  return 0;
}
