#include "stack.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

namespace xsched_hsa_tests {
namespace {

constexpr int kTries = 400 * kPatience;  // of 25 ms
constexpr useconds_t kTryUs = 25'000;

std::string NewDeviceName() {
  static int count = 0;
  return "test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

}  // namespace

Stack::Stack(const std::vector<std::string>& options)
    : device_(NewDeviceName()), socket_(directory_.path() + "/control.sock") {
  std::vector<std::string> words = {Bin("virtual-gpu"), "start", "--device", device_};
  words.insert(words.end(), options.begin(), options.end());
  const Result started = Run(words);
  EXPECT_EQ(started.exit_code, 0) << started.err;
}

Stack::~Stack() {
  controller_.reset();
  Run({Bin("virtual-gpu"), "stop", "--device", device_});
}

void Stack::StartController(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {Bin("xsched-hsad"), "--socket", socket_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  controller_ = std::make_unique<Process>(words, environment_);
  for (int i = 0; i < kTries && Ctl({"list", "--json"}).exit_code != 0; ++i) usleep(kTryUs);
}

void Stack::StartControllerOnDevice(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {Bin("xsched-hsad"), "--socket", socket_};
  words.insert(words.end(), arguments.begin(), arguments.end());
  controller_ = StartPlain(words);
  for (int i = 0; i < kTries && Ctl({"list", "--json"}).exit_code != 0; ++i) usleep(kTryUs);
}

Result Stack::KillController(int signal) {
  controller_->Signal(signal);
  return signal == SIGSTOP ? Result{} : controller_->Wait(std::chrono::seconds(10));
}

std::unique_ptr<Process> Stack::StartPlain(const std::vector<std::string>& command,
                                           const Environment& environment) {
  std::vector<std::string> words = {Bin("virtual-gpu"), "run",   "--quiet",
                                    "--device",         device_, "--"};
  words.insert(words.end(), command.begin(), command.end());
  return std::make_unique<Process>(words, environment);
}

std::unique_ptr<Process> Stack::Start(const std::string& priority,
                                      const std::vector<std::string>& command) {
  Environment environment = {{"HSA_TOOLS_LIB", Layer()},
                             {"XSCHED_HSA_PRIORITY", priority},
                             {"XSCHED_HSA_SOCKET", socket_},
                             {"XSCHED_HSA_GATE", gate_},
                             {"XSCHED_HSA_LOG", "info"}};
  for (const auto& [name, value] : environment_) environment[name] = value;
  return StartPlain(command, environment);
}

std::string Stack::DeviceFolder() {
  const Result told = StartPlain({"/bin/sh", "-c", "dirname \"$VIRTUAL_GPU_SOCKET\""})->Wait();
  return told.out.substr(0, told.out.find('\n'));
}

Result Stack::Ctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> words = {Bin("xsched-hsa-ctl")};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Run(words, {{"XSCHED_HSA_SOCKET", socket_}}, std::chrono::seconds(20));
}

nlohmann::json Stack::List() {
  const Result listed = Ctl({"list", "--all", "--json"});
  return listed.exit_code == 0 ? nlohmann::json::parse(listed.out, nullptr, false)
                               : nlohmann::json();
}

namespace {

// The newest process with a queue at that priority; the list has ended ones first, then by age.
nlohmann::json ProcessAt(const nlohmann::json& list, int priority) {
  nlohmann::json found;
  if (!list.is_object()) return found;
  for (const auto& process : list["processes"]) {
    for (const auto& queue : process["queues"]) {
      if (queue["requested_priority"] == priority) found = process;
    }
  }
  return found;
}

}  // namespace

nlohmann::json Stack::QueueAt(int priority) {
  const nlohmann::json process = ProcessAt(List(), priority);
  if (!process.is_object()) return nullptr;
  for (const auto& queue : process["queues"]) {
    if (queue["requested_priority"] == priority) return queue;
  }
  return nullptr;
}

int Stack::PidAt(int priority) {
  const nlohmann::json process = ProcessAt(List(), priority);
  return process.is_object() ? process["pid"].get<int>() : 0;
}

nlohmann::json Stack::DeviceQueues(int pid) {
  const Result told = Run({Bin("virtual-gpu"), "stats", "--device", device_, "--json"});
  const auto stats = nlohmann::json::parse(told.out, nullptr, false);
  if (!stats.is_object()) return nlohmann::json::array();
  for (const auto& process : stats["processes"]) {
    if (process["pid"] == pid) return process["queues"];
  }
  return nlohmann::json::array();
}

bool Stack::WaitForQueue(int priority, const std::string& field, const nlohmann::json& value) {
  nlohmann::json seen;
  for (int i = 0; i < kTries; ++i, usleep(kTryUs)) {
    const nlohmann::json queue = QueueAt(priority);
    seen = queue.is_object() && queue.contains(field) ? queue[field] : nlohmann::json();
    if (seen == value) return true;
  }
  ADD_FAILURE() << "queue at priority " << priority << ": " << field << " is " << seen << ", not "
                << value;
  return false;
}

}  // namespace xsched_hsa_tests
