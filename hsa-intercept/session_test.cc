// The layer's half of the connection against controllers that are absent, silent, wrong or hostile.
#include "session.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "clock.h"
#include "pump.h"

namespace xsched_hsa {
namespace {

int MakePage(std::size_t bytes, bool sealed) {
  const int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(bytes)), 0);
  const std::uint32_t head[2] = {kPageMagic, kAbiVersion};
  EXPECT_EQ(pwrite(fd, head, sizeof(head), 0), static_cast<ssize_t>(sizeof(head)));
  if (sealed) {
    EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
  }
  return fd;
}

void SendWelcome(int fd, const WelcomeMessage& welcome, const std::vector<int>& fds) {
  iovec part{const_cast<WelcomeMessage*>(&welcome), sizeof(welcome)};
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size() * sizeof(int));
  }
  sendmsg(fd, &message, MSG_NOSIGNAL);
}

int OpenDescriptors() {
  int count = 0;
  DIR* open = opendir("/proc/self/fd");
  while (readdir(open) != nullptr) ++count;
  closedir(open);
  return count;
}

WelcomeMessage GoodWelcome() {
  WelcomeMessage welcome{};
  welcome.header = {kWireMagic, kAbiVersion, WireType::kWelcome, sizeof(welcome)};
  welcome.session_id = 42;
  return welcome;
}

void WelcomeIt(int fd) {
  const int page = MakePage(sizeof(ProcessPage), true), user = MakePage(sizeof(UserPage), true);
  const int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  SendWelcome(fd, GoodWelcome(), {page, user, event});
  for (const int each : {page, user, event}) close(each);
}

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    char directory[] = "/tmp/xsched-session-XXXXXX";
    ASSERT_NE(mkdtemp(directory), nullptr);
    directory_ = directory;
    std::snprintf(config_.socket_path, sizeof(config_.socket_path), "%s/s", directory);
  }
  void TearDown() override {
    if (server_.joinable()) server_.join();
    if (listener_ >= 0) close(std::exchange(listener_, -1));
    unlink(config_.socket_path);
    rmdir(directory_.c_str());
    Disconnect(&link_);
  }
  void Listen() {
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, config_.socket_path);
    ASSERT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(listener_, 4), 0);
  }
  void Serve(std::function<void(int, const HelloMessage&)> answer) {
    Listen();
    server_ = std::thread([this, answer] {
      const int fd = accept(listener_, nullptr, nullptr);
      HelloMessage hello{};
      EXPECT_EQ(recv(fd, &hello, sizeof(hello), 0), static_cast<ssize_t>(sizeof(hello)));
      answer(fd, hello);
      close(fd);
    });
  }
  bool TryConnect() { return Connect(config_, RuntimeVersion{1, 400}, &link_, why_, sizeof(why_)); }

  std::string directory_;
  Config config_;
  SessionLink link_;
  char why_[256] = {};
  int listener_ = -1;
  std::thread server_;
};

TEST_F(SessionTest, MapsThePagesItIsGiven) {
  config_.priority = 15;
  Serve([](int fd, const HelloMessage& hello) {
    EXPECT_EQ(hello.header.magic, kWireMagic);
    EXPECT_EQ(hello.priority, 15);
    EXPECT_EQ(hello.namespace_pid, static_cast<std::uint32_t>(getpid()));
    EXPECT_NE(hello.comm[0], '\0');
    WelcomeIt(fd);
  });
  ASSERT_TRUE(TryConnect()) << why_;
  EXPECT_EQ(link_.id, 42u);
  EXPECT_NE(link_.process_page, nullptr);
  EXPECT_NE(link_.user_page, nullptr);
  WaitForHangup(link_);  // the server closed: returns
}

TEST_F(SessionTest, SaysWhereNobodyAnswered) {
  EXPECT_FALSE(TryConnect());
  EXPECT_NE(std::string(why_).find(config_.socket_path), std::string::npos) << why_;
}

TEST_F(SessionTest, SaysWhenThePathDoesNotFitASocket) {
  std::memset(config_.socket_path, 'x', 200);
  config_.socket_path[200] = '\0';
  EXPECT_FALSE(TryConnect());
  EXPECT_NE(std::string(why_).find("too long"), std::string::npos) << why_;
}

TEST_F(SessionTest, GivesUpOnAControllerThatAcceptsNobody) {
  Listen();  // connects by the backlog, never answered
  const std::uint64_t began_us = NowUs();
  EXPECT_FALSE(TryConnect());
  EXPECT_LT(NowUs() - began_us, 10'000'000u);
}

// Or the controller would not see the parent's end as long as the child lives.
TEST_F(SessionTest, AChildForkedWhileTheAnswerIsToComeDoesNotKeepTheConnection) {
  Serve([this](int fd, const HelloMessage&) {
    const pid_t child = fork();
    if (child == 0) {
      Disconnect(&link_);  // as Layer::AfterForkInChild
      pause();
    }
    timeval patience{10, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char byte;
    EXPECT_EQ(recv(fd, &byte, 1, 0), 0) << "the child has it";
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  });
  EXPECT_FALSE(TryConnect());
}

TEST_F(SessionTest, ReportsARefusal) {
  Serve([](int fd, const HelloMessage&) {
    WelcomeMessage refused = GoodWelcome();
    refused.header.type = WireType::kRefused;
    std::strcpy(refused.text, "table full");
    SendWelcome(fd, refused, {});
  });
  EXPECT_FALSE(TryConnect());
  EXPECT_NE(std::string(why_).find("table full"), std::string::npos) << why_;
}

TEST_F(SessionTest, RefusesAnotherAbiVersion) {
  Serve([](int fd, const HelloMessage&) {
    WelcomeMessage welcome = GoodWelcome();
    welcome.header.abi_version = kAbiVersion + 1;
    SendWelcome(fd, welcome, {});
  });
  EXPECT_FALSE(TryConnect());
  EXPECT_TRUE(link_.refused);
  EXPECT_NE(std::string(why_).find("install layer and controller of one release"),
            std::string::npos)
      << why_;
}

TEST_F(SessionTest, RefusesAnAnswerOfAnotherVersionAndLength) {
  Serve([](int fd, const HelloMessage&) {
    const WireHeader header{kWireMagic, kAbiVersion - 1, WireType::kWelcome, sizeof(header)};
    send(fd, &header, sizeof(header), MSG_NOSIGNAL);
  });
  EXPECT_FALSE(TryConnect());
  EXPECT_TRUE(link_.refused);
  EXPECT_NE(std::string(why_).find("version " + std::to_string(kAbiVersion - 1)), std::string::npos)
      << why_;
}

TEST_F(SessionTest, RefusesPagesThatCouldShrinkUnderIt) {
  Serve([](int fd, const HelloMessage&) {
    const int pages[] = {MakePage(sizeof(ProcessPage), false), MakePage(sizeof(UserPage), true),
                         eventfd(0, EFD_NONBLOCK)};
    SendWelcome(fd, GoodWelcome(), {pages[0], pages[1], pages[2]});
    for (int page : pages) close(page);
  });
  EXPECT_FALSE(TryConnect());
  EXPECT_EQ(link_.process_page, nullptr);
}

TEST_F(SessionTest, RefusesPagesThatAreTooSmall) {
  Serve([](int fd, const HelloMessage&) {
    const int pages[] = {MakePage(4096, true), MakePage(sizeof(UserPage), true),
                         eventfd(0, EFD_NONBLOCK)};
    SendWelcome(fd, GoodWelcome(), {pages[0], pages[1], pages[2]});
    for (int page : pages) close(page);
  });
  EXPECT_FALSE(TryConnect());
}

TEST_F(SessionTest, RefusesAWelcomeWithoutDescriptors) {
  Serve([](int fd, const HelloMessage&) { SendWelcome(fd, GoodWelcome(), {}); });
  EXPECT_FALSE(TryConnect());
}

// The control buffer's padding has room for a fourth; a fifth is dropped by the kernel.
TEST_F(SessionTest, TakesNoMoreDescriptorsThanItAskedFor) {
  for (const int extra : {1, 5}) {
    const int page = MakePage(sizeof(ProcessPage), true), user = MakePage(sizeof(UserPage), true);
    const int open_before = OpenDescriptors();
    Serve([&](int fd, const HelloMessage&) {
      const int event = eventfd(0, EFD_CLOEXEC);
      std::vector<int> fds = {page, user, event};
      fds.resize(3 + static_cast<std::size_t>(extra), event);
      SendWelcome(fd, GoodWelcome(), fds);
      close(event);
    });
    EXPECT_TRUE(TryConnect()) << why_;
    TearDown();
    EXPECT_EQ(OpenDescriptors(), open_before) << "a descriptor was left open";
    close(page);
    close(user);
    SetUp();
  }
}

// The lowest number that would be given out next: everything below it is in use.
void LimitDescriptors(int more) {
  const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(next);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = static_cast<rlim_t>(next) + static_cast<rlim_t>(more);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

// None for the socket; then one after the other of the three that come with the welcome.
TEST_F(SessionTest, SaysWhenThereIsNoDescriptorLeftAndKeepsNone) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  for (int more = 0; more < 4; ++more) {
    Listen();
    const pid_t server = fork();
    if (server == 0) {
      const int fd = accept(listener_, nullptr, nullptr);
      HelloMessage hello{};
      recv(fd, &hello, sizeof(hello), 0);
      WelcomeIt(fd);
      _exit(0);
    }
    const int open_before = OpenDescriptors();
    LimitDescriptors(more);
    EXPECT_FALSE(TryConnect()) << more;
    setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_TRUE(link_.refused) << "it is told only if it counts as a refusal";
    EXPECT_NE(std::string(why_).find("raise its limit (ulimit -n)"), std::string::npos) << why_;
    EXPECT_EQ(OpenDescriptors(), open_before);
    if (more == 0) kill(server, SIGKILL);  // nobody has called
    waitpid(server, nullptr, 0);
    TearDown();
    SetUp();
    link_ = SessionLink{};
  }
}

int MappingsOf(const char* name) {
  int count = 0;
  char line[512];
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  while (std::fgets(line, sizeof(line), maps) != nullptr)
    count += std::strstr(line, name) != nullptr;
  std::fclose(maps);
  return count;
}

TEST_F(SessionTest, LetsGoOfThePagesButNotOfTheirAddress) {
  Serve([](int fd, const HelloMessage&) { WelcomeIt(fd); });
  ASSERT_TRUE(TryConnect()) << why_;
  EXPECT_EQ(MappingsOf("memfd:page"), 2);
  ProcessPage* const process = link_.process_page;
  UserPage* const user = link_.user_page;
  process->queues[3].mode = kModeArmed;
  process->queues[3].hold = kHoldPackets;
  user->gpus[0].word = UrgencyWord(5, 16);
  const std::uint32_t wake = process->wake, bell = user->bell;
  Disconnect(&link_);
  EXPECT_EQ(MappingsOf("memfd:page"), 0) << "a restart of the controller leaves pages behind";
  // A producer that still looks there is told nothing, and may write.
  EXPECT_EQ(process->queues[3].mode.load(), 0u);
  EXPECT_EQ(process->queues[3].hold.load(), 0u);
  EXPECT_EQ(LevelOf(user->gpus[0].word.load()), 0u);
  process->queues[3].raises.fetch_add(1);
  // Who was about to sleep there must not.
  EXPECT_NE(process->wake.load(), wake);
  EXPECT_NE(user->bell.load(), bell);
}

// Daemons close what they do not know, and what they open then has our numbers.
TEST_F(SessionTest, LeavesAloneWhatTheProgramPutsInOurDescriptorsPlace) {
  Serve([](int fd, const HelloMessage&) { WelcomeIt(fd); });
  ASSERT_TRUE(TryConnect()) << why_;
  const int socket = link_.socket.fd(), event = link_.event.fd();
  ASSERT_GE(socket, 0);
  ASSERT_GE(event, 0);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  ASSERT_EQ(write(ends[1], "theirs", 6), 6);
  const int file = memfd_create("theirs", MFD_CLOEXEC);
  ASSERT_EQ(dup2(ends[0], socket), socket);
  ASSERT_EQ(dup2(file, event), event);
  WaitForHangup(link_);  // returns: it is over for us
  Pump pump(nullptr, nullptr);
  pump.SetSession(nullptr, link_.event);
  testing::internal::CaptureStderr();
  for (int i = 0; i < 2; ++i) pump.TellController();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_NE(said.find("closed a descriptor of ours"), std::string::npos) << said;
  EXPECT_EQ(lseek(event, 0, SEEK_END), 0) << "written into a file of the program's";
  Disconnect(&link_);
  char message[16];
  EXPECT_EQ(read(socket, message, sizeof(message)), 6) << "taken from a socket of the program's";
  EXPECT_NE(fcntl(event, F_GETFD), -1) << "closed a file of the program's";
  for (const int each : {ends[0], ends[1], file, socket, event}) close(each);
}

}  // namespace
}  // namespace xsched_hsa
