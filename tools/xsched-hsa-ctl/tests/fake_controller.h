// fake_controller.h: what listens where a controller should: one of another release, or something else.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <string>

namespace xsched_hsa::testing {

// A socket that a client can connect to; nobody accepts.
inline int ListenAt(const std::string& path) {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strcpy(name.sun_path, path.c_str());
  const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof name), 0);
  EXPECT_EQ(listen(listener, 256), 0);
  return listener;
}

// Answers each connection once with that message, whatever it is asked; an empty one: closes it.
class FakeController {
 public:
  FakeController(const std::string& path, const std::string& answer) {
    const int listener = ListenAt(path);
    pid_ = fork();
    while (pid_ == 0) {
      const int fd = accept(listener, nullptr, nullptr);
      char question[4096];
      if (recv(fd, question, sizeof question, 0) > 0 && !answer.empty()) {
        send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      close(fd);
    }
    close(listener);
  }
  ~FakeController() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  FakeController(const FakeController&) = delete;
  FakeController& operator=(const FakeController&) = delete;

 private:
  pid_t pid_ = -1;
};

}  // namespace xsched_hsa::testing
