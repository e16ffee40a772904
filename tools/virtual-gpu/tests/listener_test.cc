// listener_test.cc: the device process's socket when there is no descriptor left for who comes.

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "rpc_protocol.h"
#include "server.h"
#include "sim_clock.h"

namespace virtual_gpu {
namespace {

class ListenerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/virtual-gpu-listener-XXXXXX";
    ASSERT_NE(mkdtemp(path), nullptr);
    directory_ = path;
    ServerOptions options;
    options.directory = directory_;
    options.stay = true;
    std::string note, error;
    ASSERT_TRUE(MakeModel({}, &options.model, &note, &error)) << error;
    server_ = std::make_unique<Server>(options);
    ASSERT_TRUE(server_->Start());
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit_), 0);
  }
  void TearDown() override {
    setrlimit(RLIMIT_NOFILE, &limit_);
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  int Connect() {
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un name = {};
    name.sun_family = AF_UNIX;
    std::strcpy(name.sun_path, (directory_ / rpc::kSocketName).c_str());
    EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&name), sizeof(name)), 0);
    return fd;
  }
  // All descriptors that this process may have are taken.
  void TakeDescriptors() {
    const int next = dup(0);
    close(next);
    rlimit none = limit_;
    none.rlim_cur = static_cast<rlim_t>(next);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }

  std::filesystem::path directory_;
  std::unique_ptr<Server> server_;
  rlimit limit_ = {};
};

TEST_F(ListenerTest, WithoutDescriptorsAProgramWaitsAndTheDeviceDoesNotSpin) {
  const int peer = Connect();
  rpc::RequestHeader watch;
  watch.kind = rpc::Kind::kWatch;
  watch.arg_bytes = 0;
  watch.payload_bytes = 0;
  ASSERT_EQ(send(peer, &watch, sizeof(watch), 0), static_cast<ssize_t>(sizeof(watch)));
  TakeDescriptors();
  EXPECT_EQ(server_->Turn(0), 1);
  // It looks again ten times a second: a timer, and the socket. A loop that spins has something to do each time.
  const std::int64_t started_ns = RawNs();
  int busy = 0;
  for (int i = 0; i < 1000; ++i) busy += server_->Turn(0) > 0 ? 1 : 0;
  EXPECT_LE(busy, 4 + 2 * (RawNs() - started_ns) / 100'000'000);
  EXPECT_FALSE(server_->InUse());

  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit_), 0);
  for (int i = 0; i < 100 && !server_->InUse(); ++i) server_->Turn(1000);
  EXPECT_TRUE(server_->InUse());
  pollfd look = {peer, POLLIN, 0};
  EXPECT_EQ(poll(&look, 1, 0), 1) << "it waited, and has no answer";
  close(peer);
}

}  // namespace
}  // namespace virtual_gpu
