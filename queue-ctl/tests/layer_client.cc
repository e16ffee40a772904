#include "layer_client.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "clock.h"
#include "socket_path.h"

namespace xsched_hsa::testing {

HelloMessage MakeHello(int priority, const std::string& run_token) {
  HelloMessage hello{};
  hello.header = {kWireMagic, kAbiVersion, WireType::kHello, sizeof hello};
  hello.priority = priority;
  hello.namespace_pid = static_cast<std::uint32_t>(getpid());
  hello.hsa_table_major = 1;
  hello.hsa_ext_table_bytes = 400;
  hello.gate = GateKind::kWindow;
  std::strcpy(hello.comm, "fake-layer");
  std::strncpy(hello.run_token, run_token.c_str(), sizeof hello.run_token - 1);
  return hello;
}

std::unique_ptr<LayerClient> LayerClient::Join(const std::string& socket_path,
                                               const HelloMessage& hello, std::string* refusal) {
  sockaddr_un address;
  std::unique_ptr<LayerClient> client(new LayerClient);
  client->socket_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (!FillAddress(socket_path, &address) ||
      connect(client->socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    *refusal = "no connection";
    return nullptr;
  }
  if (send(client->socket_, &hello, sizeof hello, MSG_NOSIGNAL) != sizeof hello ||
      !client->Receive(refusal)) {
    return nullptr;
  }
  return client;
}

bool LayerClient::Receive(std::string* refusal) {
  WelcomeMessage welcome{};
  int fds[3] = {-1, -1, -1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fds)] = {};
  iovec data{&welcome, sizeof welcome};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const timeval limit{5, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (recvmsg(socket_, &message, MSG_CMSG_CLOEXEC) != sizeof welcome) {
    *refusal = "no answer";
    return false;
  }
  if (welcome.header.type != WireType::kWelcome) {
    *refusal = welcome.text;
    return false;
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_len != CMSG_LEN(sizeof fds)) {
    *refusal = "no descriptors";
    return false;
  }
  std::memcpy(fds, CMSG_DATA(header), sizeof fds);
  seals_ = fcntl(fds[0], F_GET_SEALS);
  session_ = welcome.session_id;
  process_ = static_cast<ProcessPage*>(
      mmap(nullptr, sizeof(ProcessPage), PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0));
  user_ = static_cast<UserPage*>(
      mmap(nullptr, sizeof(UserPage), PROT_READ | PROT_WRITE, MAP_SHARED, fds[1], 0));
  event_fd_ = fds[2];
  close(fds[0]);
  close(fds[1]);
  layer_ = std::make_unique<FakeLayer>(process_, user_, [] { return SteadyClock().NowUs(); });
  return true;
}

LayerClient::~LayerClient() {
  if (socket_ >= 0) close(socket_);
  if (event_fd_ >= 0) close(event_fd_);
  if (process_ != nullptr) munmap(process_, sizeof(ProcessPage));
  if (user_ != nullptr) munmap(user_, sizeof(UserPage));
}

void LayerClient::TellController() {
  const std::uint64_t one = 1;
  if (write(event_fd_, &one, sizeof one) != sizeof one) std::abort();
}

void LayerClient::WaitForWake(int timeout_ms) {
  const timespec limit{0, timeout_ms * 1'000'000L};
  syscall(SYS_futex, &process_->wake, FUTEX_WAIT, process_->wake.load(), &limit, nullptr, 0);
}

}  // namespace xsched_hsa::testing
