// What programs and machines should not do, done to the layer in real processes on the real runtime:
// the program is as well off as without it, and whoever can change something is told in one line.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <sstream>
#include <thread>

#include "queue-ctl/shared_page.h"
#include "queue-ctl/wire.h"
#include "support/rivals.h"

namespace xsched_hsa_tests {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Misuse(const std::vector<std::string>& words) {
  std::vector<std::string> command = {Bin("hsa-misuse")};
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

// The layer's lines that are not mere information.
std::vector<std::string> Complaints(const std::string& err) {
  std::vector<std::string> found;
  std::size_t at = 0;
  while (at < err.size()) {
    const std::size_t end = std::min(err.find('\n', at), err.size());
    const std::string line = err.substr(at, end - at);
    if (line.rfind("xsched-hsa[", 0) == 0 && line.find("]: info: ") == std::string::npos)
      found.push_back(line);
    at = end + 1;
  }
  return found;
}

std::string Joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// What follows `word` in the lines that begin with it.
std::set<std::string> LinesAfter(const std::string& word, const std::string& text) {
  std::set<std::string> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(word)) found.insert(line.substr(word.size()));
  }
  return found;
}

class MisuseTest : public RivalsTest {
 protected:
  std::unique_ptr<Process> StartLow(const std::vector<std::string>& words) {
    return RivalsTest::StartLow(Misuse(words));
  }
};

class MisuseAtEachGateTest : public MisuseTest, public testing::WithParamInterface<const char*> {
 protected:
  MisuseAtEachGateTest() { stack_.UseGate(GetParam()); }
  // Held in the middle of its work, the program lets another one begin (itself, or a child), which is a
  // program like any other, and held.
  std::unique_ptr<Process> HoldAndExec(const char* verb) {
    stack_.StartController(kPatient);
    auto low = StartLow({verb, "10", Bin("hsa-exercise"), "paused", "20"});
    StartHigh();
    SubmitHeld(low.get());
    low->Write("\n");
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "submitted", 0));  // the newest of that priority
    // With the old program nobody was left to be urgent for; the next packet raises again.
    EXPECT_TRUE(stack_.WaitForQueue(kHigh, "active", true));
    low->Write("\n");
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "submitted", 20));
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "held"));
    EXPECT_EQ(stack_.QueueAt(kLow)["read"], 0);
    return low;
  }
};

// --------------------------------------------------------------------------- fork and exec

// What was held went with the old program.
TEST_P(MisuseAtEachGateTest, ExecInTheMiddleOfAHoldBeginsAnewAndHoldsNobodyUp) {
  auto low = HoldAndExec("exec");
  FinishHigh();
  EXPECT_TRUE(low->WaitForOutput("completed 20"));
  const Result result = low->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("completed 10"), std::string::npos);
}

TEST_P(MisuseAtEachGateTest, ChildThatExecsIsAProgramOfItsOwnAndTheParentStaysHeld) {
  auto low = HoldAndExec("fork-exec");
  int held = 0;
  const nlohmann::json list = stack_.List();
  for (const auto& process : list["processes"]) {
    for (const auto& queue : process["queues"]) held += queue["state"] == "held" ? 1 : 0;
  }
  EXPECT_EQ(held, 2) << "parent and child";
  FinishHigh();
  const Result result = low->Wait();
  EXPECT_NE(result.out.find("child 0"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.out.rfind("completed 20\n"), result.out.size() - 13) << result.out;
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// Of several: a thread of the layer may just have a file open, closed on exec, when the child is made.
TEST_F(MisuseTest, AForkedChildKeepsNoDescriptorOfOurs) {
  stack_.StartController(kPatient);
  const std::set<std::string> plain =
      LinesAfter("child has ", stack_.StartPlain(Misuse({"fork-descriptors"}))->Wait().out);
  std::set<std::string> more = {"nothing was tried"};
  for (int tries = 0; tries < 8 && !more.empty(); ++tries) {
    auto low = StartLow({"fork-descriptors"});
    low->Write("\n");
    const std::string out = low->Wait().out;
    EXPECT_NE(out.find("the layer has 3\n"), std::string::npos) << out;
    EXPECT_EQ(out.find("child keeps "), std::string::npos) << out;
    more = LinesAfter("child has ", out);
    for (const std::string& kind : plain) more.erase(kind);
  }
  EXPECT_EQ(more, std::set<std::string>{});
}

// Nothing of ours is done under a number that is the program's by now, and what was suspended comes back.
TEST_P(MisuseAtEachGateTest, AProgramThatClosesOurDescriptorsKeepsItsOwn) {
  stack_.StartController(kPatient);
  auto low = StartLow({"close-descriptors", "40"});
  low->Write("\n");
  ASSERT_TRUE(low->WaitForOutput("closed 3"));
  const std::string pid = std::to_string(stack_.PidAt(kLow));
  EXPECT_EQ(stack_.Ctl({"suspend", pid}).exit_code, 0);
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "suspended"));
  EXPECT_EQ(stack_.Ctl({"resume", pid}).exit_code, 0);
  stack_.KillController(SIGKILL);
  low->Write("\n");
  const Result result = low->Wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out.find("of mine"), std::string::npos) << result.out;
}

// --------------------------------------------------------------------------- handlers, callbacks

TEST_P(MisuseAtEachGateTest, SubmitsFromASignalHandlerThatInterruptsASubmission) {
  stack_.StartController(kPatient);
  auto low = StartLow({"interrupted", "30000"});
  const std::string pid = std::to_string(stack_.PidAt(kLow));
  low->Write("\n");
  for (int i = 0; i < 200 && !low->WaitForOutput("completed", std::chrono::seconds(0)); ++i)
    stack_.Ctl({i % 2 == 0 ? "hold" : "release", pid});
  stack_.Ctl({"release", pid});
  const Result result = low->Wait();
  EXPECT_FALSE(result.timed_out) << "a deadlock: " << result.out;
  EXPECT_EQ(result.exit_code, 0) << result.out << result.err;
  EXPECT_EQ(result.out.find("from the handler 0\n"), std::string::npos) << "nothing was tried";
}

// Not to be done, and often done: exit in a handler. The call that it interrupted never goes on, whatever lock it has.
TEST_P(MisuseAtEachGateTest, AHandlerThatExitsInTheMiddleOfACallEndsTheProgram) {
  stack_.StartController(kPatient);
  // The runtime frees what it has in there, which TSan says of every piece. It is what is tried.
  const char* const options = std::getenv("TSAN_OPTIONS");
  stack_.UseEnvironment({{"TSAN_OPTIONS", std::string(options == nullptr ? "" : options) +
                                              ":report_signal_unsafe=0"}});
  for (const char* calls : {"priority", "doorbells"}) {
    auto low = StartLow({"exit-in-handler", calls});
    low->Write("\n");
    const Result result = low->Wait(std::chrono::seconds(20));
    EXPECT_FALSE(result.timed_out) << calls << ": it waits for a lock of its own";
    EXPECT_EQ(result.exit_code, 7) << calls << result.err;
  }
}

TEST_P(MisuseAtEachGateTest, ShutDownInACallbackLosesNothingThatIsHeld) {
  stack_.StartController(kPatient);
  auto low = StartLow({"shut-down", "10"});
  StartHigh();
  SubmitHeld(low.get());
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("callback 0\n"));
  FinishHigh();
  const Result result = low->Wait();
  EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out;
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

TEST_P(MisuseAtEachGateTest, TheLastShutDownInACallbackEndsAsWithoutTheLayer) {
  stack_.StartController(kPatient);
  const Result plain = stack_.StartPlain(Misuse({"last-shut-down", "10"}))->Wait();
  const Result layered = stack_.Start("low", Misuse({"last-shut-down", "10"}))->Wait();
  EXPECT_EQ(plain.out, layered.out) << plain.err << layered.err;
  EXPECT_EQ(plain.exit_code, layered.exit_code);
}

// --------------------------------------------------------------------------- errors

// ROCr takes a queue off the hardware after an error. It has unfinished packets for ever: it is urgent no more,
// and what holds, suspends or ranks others leaves it where it is.
TEST_P(MisuseAtEachGateTest, AnUrgentQueueThatTheRuntimeHasStoppedHoldsNobody) {
  stack_.StartController(kPatient);
  auto low = RivalsTest::StartLow({Bin("hsa-exercise"), "paused", "10"});
  auto high = stack_.Start("high", Misuse({"bad-packet", "20"}));
  ASSERT_TRUE(high->WaitForOutput("ready"));
  ASSERT_TRUE(stack_.WaitForQueue(kHigh, "raise", true));
  high->Write("\n");
  ASSERT_TRUE(high->WaitForOutput("error 0x1009 of its queue"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
  high->Write("\n");
  const Result result = high->Wait();
  EXPECT_NE(result.out.find("completed 20"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_NE(result.err.find("has stopped it after an error"), std::string::npos) << result.err;
}

INSTANTIATE_TEST_SUITE_P(Gates, MisuseAtEachGateTest, testing::Values("window", "intercept"),
                         [](const auto& gate) { return std::string(gate.param); });

// --------------------------------------------------------------------------- descriptors

// The two descriptors that a session gave back are not enough for the next one.
TEST_F(MisuseTest, AProgramWithoutDescriptorsRunsOnSaysSoOnceAndComesBackWhenItHasSome) {
  stack_.StartController(kPatient);
  auto low =
      stack_.Start("low", {"prlimit", "--nofile=200", "--", Bin("hsa-misuse"), "starved", "10"});
  EXPECT_TRUE(low->WaitForOutput("ready"));
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("starved: Too many open files"));
  stack_.KillController(SIGKILL);
  stack_.StartController(kPatient);
  // It greets, gets its pages, has no room for them and hangs up.
  nlohmann::json list = stack_.List();
  for (int i = 0; i < 400 && list["processes"].empty(); ++i, usleep(25'000)) list = stack_.List();
  EXPECT_FALSE(list["processes"].empty());
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_TRUE(low->WaitForOutput("another queue "));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("fed"));
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  low->Write("\n");
  const Result result = low->Wait();
  EXPECT_NE(result.out.find("completed 20"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto complaints = Complaints(result.err);
  ASSERT_EQ(complaints.size(), 2u) << result.err;
  EXPECT_NE(complaints[0].find(" is gone: all queues are released"), std::string::npos)
      << complaints[0];
  EXPECT_NE(complaints[1].find("no file descriptors left"), std::string::npos) << complaints[1];
}

// --------------------------------------------------------------------------- versions

// Answers every greeting with a welcome of another version, as an older or newer controller does.
class OtherController {
 public:
  OtherController(const std::string& path, std::uint32_t version) : version_(version) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    listener_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 8), 0);
    thread_ = std::thread([this] { Serve(); });
  }
  ~OtherController() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }
  int greetings() const { return greetings_.load(); }

 private:
  void Serve() {
    for (int fd = accept(listener_, nullptr, nullptr); fd >= 0;
         fd = accept(listener_, nullptr, nullptr)) {
      xsched_hsa::HelloMessage hello{};
      if (recv(fd, &hello, sizeof(hello), 0) > 0) {
        const xsched_hsa::WireHeader header{xsched_hsa::kWireMagic, version_,
                                            xsched_hsa::WireType::kWelcome, sizeof(header)};
        send(fd, &header, sizeof(header), MSG_NOSIGNAL);
        greetings_.fetch_add(1);
      }
      close(fd);
    }
  }

  const std::uint32_t version_;
  int listener_ = -1;
  std::atomic<int> greetings_{0};
  std::thread thread_;
};

// A program that waits for its line is greeted back by such a controller again and again.
void ExpectNamedOnce(const OtherController& controller, std::uint32_t version, Process* program) {
  for (int i = 0; i < 1000 && controller.greetings() < 3; ++i) usleep(10'000);
  EXPECT_GE(controller.greetings(), 3);
  program->Write("\n");
  const Result result = program->Wait();
  EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out;
  const auto complaints = Complaints(result.err);
  EXPECT_EQ(complaints.size(), 1u) << result.err;
  EXPECT_NE(Joined(complaints)
                .find("speaks version " + std::to_string(xsched_hsa::kAbiVersion) +
                      ", the controller version " + std::to_string(version) +
                      "; install layer and controller of one release"),
            std::string::npos)
      << result.err;
}

TEST_F(MisuseTest, AControllerOfAnotherVersionIsNamedOnceAndTheProgramRuns) {
  for (const int off : {-1, 1}) {
    const std::uint32_t version = xsched_hsa::kAbiVersion + static_cast<std::uint32_t>(off);
    OtherController controller(stack_.socket(), version);
    auto program = stack_.Start("low", {Bin("hsa-exercise"), "paused", "10"});
    EXPECT_TRUE(program->WaitForOutput("ready"));
    // Once at the start, and again by the session thread.
    ExpectNamedOnce(controller, version, program.get());
    fs::remove(stack_.socket());
  }
}

// At the start there was none: then it is the session thread that meets it, again and again.
TEST_F(MisuseTest, AControllerOfAnotherVersionThatComesLaterIsNamedOnce) {
  auto program = stack_.Start("low", {Bin("hsa-exercise"), "paused", "10"});
  EXPECT_TRUE(program->WaitForOutput("ready"));
  OtherController controller(stack_.socket(), xsched_hsa::kAbiVersion + 1);
  ExpectNamedOnce(controller, xsched_hsa::kAbiVersion + 1, program.get());
}

// --------------------------------------------------------------------------- standard error

class StandardErrorTest : public MisuseTest, public testing::WithParamInterface<const char*> {};

// A pipe that is full, or whose reader has gone, and something to tell: a line that nobody can have.
TEST_P(StandardErrorTest, NobodyReadsItAndTheProgramRuns) {
  constexpr const char* kLauncher = R"(import os, signal, sys
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while True:
        os.write(writer, b"x" * 512)
except BlockingIOError:
    os.set_blocking(writer, True)
os.set_inheritable(reader, sys.argv[1] == "full")
os.dup2(writer, 2)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:]))";
  stack_.StartController(kPatient);
  stack_.UseEnvironment({{"XSCHED_HSA_DEBUG_TRAP", "nonsense"}});
  auto low = RivalsTest::StartLow(
      {"python3", "-c", kLauncher, GetParam(), Bin("hsa-exercise"), "paused", "20"});
  stack_.UseEnvironment({});
  StartHigh();
  SubmitHeld(low.get());
  FinishHigh();
  EXPECT_TRUE(low->WaitForOutput("completed 20"));
  low->Signal(SIGKILL);  // ROCr has something to tell at its end, too, and waits
}

INSTANTIATE_TEST_SUITE_P(Ends, StandardErrorTest, testing::Values("full", "closed"),
                         [](const auto& one) { return one.param; });

// --------------------------------------------------------------------------- clocks

TEST_F(MisuseTest, HoldsAreRightWhileTheWallClockJumpsByYears) {
  stack_.UseEnvironment({{"LD_PRELOAD", BuildFile("lib/libclock-jumps.so")},
                         {"ASAN_OPTIONS", "verify_asan_link_order=0"}});
  stack_.StartController(kPatient);
  auto low = StartLow({"shut-down", "10"});
  StartHigh();
  SubmitHeld(low.get());
  // Twenty leases: renewed by one clock, read by another process's.
  sleep(1);
  EXPECT_FALSE(low->WaitForOutput("completed", std::chrono::seconds(0)));
  EXPECT_EQ(stack_.QueueAt(kLow)["state"], "held");
  low->Write("\n");
  FinishHigh();
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

TEST_F(MisuseTest, ALeaseEndsWhileTheWallClockJumpsByYears) {
  stack_.UseEnvironment({{"LD_PRELOAD", BuildFile("lib/libclock-jumps.so")},
                         {"ASAN_OPTIONS", "verify_asan_link_order=0"}});
  stack_.StartController(kPatient);
  auto low = StartLow({"drop-rights", "10"});
  StartHigh();
  SubmitHeld(low.get());
  stack_.KillController(SIGSTOP);
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("completed 10"));
  EXPECT_EQ(low->Wait().exit_code, 0);
}

// --------------------------------------------------------------------------- rights and folders

class RootMisuseTest : public MisuseTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give up rights and mount";
  }
  // As udev leaves it: root's and the group render's.
  void CloseTheNode() {
    const fs::path folder = stack_.DeviceFolder();
    chmod((folder / "root/dev/kfd").c_str(), 0660);
    // Only the node is refused: whoever has the device open goes on using it.
    for (fs::path part = folder; part != "/tmp" && part.has_relative_path();
         part = part.parent_path()) {
      chmod(part.c_str(), 0755);
    }
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_socket()) chmod(entry.path().c_str(), 0666);
    }
  }
};

TEST_F(RootMisuseTest, AProgramThatMayNotOpenTheDeviceEndsAsWithoutTheLayer) {
  CloseTheNode();
  const std::vector<std::string> as_nobody = {"setpriv",           "--reuid=65534",
                                              "--regid=65534",     "--clear-groups",
                                              Bin("hsa-exercise"), "barriers"};
  const Result plain = stack_.StartPlain(as_nobody)->Wait();
  const Result layered = stack_.Start("low", as_nobody)->Wait();
  EXPECT_NE(plain.exit_code, 0) << plain.out;
  EXPECT_EQ(plain.exit_code, layered.exit_code) << plain.err << layered.err;
  EXPECT_EQ(plain.out, layered.out);
  EXPECT_TRUE(Complaints(layered.err).empty()) << layered.err;
  auto doctor = stack_.StartPlain({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                                   Bin("xsched-hsa-ctl"), "doctor"});
  const Result told = doctor->Wait();
  EXPECT_NE(told.exit_code, 0);
  EXPECT_NE(told.out.find("/dev/kfd can't be opened: Permission denied"), std::string::npos)
      << told.out;
  EXPECT_NE(told.out.find("add the user to the groups render and video"), std::string::npos)
      << told.out;
}

// Holding needs no driver.
TEST_F(RootMisuseTest, AProgramThatGaveUpItsRightsBeforeItsQueueIsHeldOnlyAndSaysSoOnce) {
  stack_.StartController(kPatient);
  CloseTheNode();
  auto low = StartLow({"drop-rights-early", "10"});
  EXPECT_NE(stack_.Ctl({"suspend", std::to_string(stack_.PidAt(kLow))}).exit_code, 0);
  StartHigh();
  SubmitHeld(low.get());
  low->Write("\n");
  FinishHigh();
  const Result result = low->Wait();
  EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out << result.err;
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto complaints = Complaints(result.err);
  EXPECT_EQ(complaints.size(), 1u) << Joined(complaints);
  EXPECT_NE(Joined(complaints).find("/dev/kfd can't be opened: Permission denied"),
            std::string::npos)
      << result.err;
}

// A program that its file gives rights which its caller has not: the loader drops LD_PRELOAD there, so this
// one is linked with the virtual GPU; but HSA_TOOLS_LIB is read by the runtime, which loads the layer.
class SetuidTest : public RootMisuseTest {
 protected:
  void SetUp() override {
    RootMisuseTest::SetUp();
    if (IsSkipped()) return;
    program_ = folder_.path() + "/privileged";
    fs::copy_file(Bin("hsa-privileged"), program_);
    chmod(folder_.path().c_str(), 0755);
    struct statvfs mount {};
    ASSERT_EQ(statvfs(folder_.path().c_str(), &mount), 0);
    if ((mount.f_flag & ST_NOSUID) != 0) GTEST_SKIP() << "the temporary folder is mounted nosuid";
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0)
      GTEST_SKIP() << "no program gets more rights here (no_new_privs)";
    stack_.StartController(kPatient);
  }
  std::unique_ptr<Process> StartAs(std::vector<std::string> command) {
    for (const char* word : {program_.c_str(), "paused", "10"}) command.push_back(word);
    return stack_.Start("low", command);
  }
  Result Finish(Process* program) {
    program->Write("\n");
    const Result result = program->Wait();
    EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out << result.err;
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }

  TemporaryDirectory folder_;
  std::string program_;
};

TEST_F(SetuidTest, TheLayerIsInertInASetuidProgramAndSaysSoOnce) {
  chmod(program_.c_str(), 04755);
  auto program = StartAs({"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  EXPECT_TRUE(program->WaitForOutput("ready"));
  EXPECT_TRUE(stack_.List()["processes"].empty()) << stack_.List();
  const Result result = Finish(program.get());
  const auto complaints = Complaints(result.err);
  EXPECT_EQ(complaints.size(), 1u) << result.err;
  EXPECT_NE(Joined(complaints).find("rights of its own"), std::string::npos) << result.err;
}

TEST_F(SetuidTest, WhereItsOwnUserStartsItItIsManaged) {
  chmod(program_.c_str(), 04755);
  auto program = StartAs({});
  EXPECT_TRUE(program->WaitForOutput("ready"));
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
  EXPECT_TRUE(Complaints(Finish(program.get()).err).empty());
}

// The layer has the device open from the first queue on, as the runtime has.
TEST_F(RootMisuseTest, AProgramThatGivesUpItsRightsAfterwardsIsSuspendedLikeAnyOther) {
  stack_.StartController(kPatient);
  CloseTheNode();
  auto low = StartLow({"drop-rights", "10"});
  const std::string pid = std::to_string(stack_.PidAt(kLow));
  EXPECT_EQ(stack_.Ctl({"suspend", pid}).exit_code, 0);
  EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "suspended"));
  low->Write("\n");
  EXPECT_TRUE(low->WaitForOutput("submitted"));
  EXPECT_EQ(stack_.Ctl({"resume", pid}).exit_code, 0);
  low->Write("\n");
  const Result result = low->Wait();
  EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out << result.err;
  EXPECT_TRUE(Complaints(result.err).empty()) << result.err;
}

// Pages come from the controller as sealed memory without a name in any file system.
TEST_F(RootMisuseTest, FullAndReadOnlySharedMemoryFoldersDoNotMatter) {
  if (xsched_hsa_tests::Run({"unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"})
          .exit_code != 0)
    GTEST_SKIP() << "mounting in a namespace of one's own is not permitted here";
  for (const char* mount : {"mount -t tmpfs -o size=4k,nr_inodes=2 tmpfs /dev/shm; "
                            "dd if=/dev/zero of=/dev/shm/full bs=4k count=1 2>/dev/null",
                            "mount -t tmpfs -o ro tmpfs /dev/shm"}) {
    const std::string alone = std::string(mount) + "; exec \"$@\"";
    const std::vector<std::string> controller = {
        "unshare", "-m", "sh", "-c", alone, "sh", Bin("xsched-hsad"), "--socket", stack_.socket()};
    Process serving(controller);
    for (int i = 0; i < 400 && stack_.Ctl({"list"}).exit_code != 0; ++i) usleep(25'000);
    auto program = stack_.Start(
        "low", {"unshare", "-m", "sh", "-c", alone, "sh", Bin("hsa-exercise"), "paused", "10"});
    EXPECT_TRUE(program->WaitForOutput("ready")) << mount;
    EXPECT_TRUE(stack_.WaitForQueue(kLow, "state", "idle"));
    program->Write("\n");
    const Result result = program->Wait();
    EXPECT_NE(result.out.find("completed 10"), std::string::npos) << result.out << result.err;
    EXPECT_TRUE(Complaints(result.err).empty()) << result.err;
    serving.Signal(SIGTERM);
    EXPECT_EQ(serving.Wait().exit_code, 0);
  }
}

}  // namespace
}  // namespace xsched_hsa_tests
