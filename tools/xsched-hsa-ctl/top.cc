#include "top.h"

#include <algorithm>
#include <chrono>
#include <iostream>
#include <iterator>
#include <thread>

#include "arguments.h"
#include "ask.h"
#include "top_model.h"
#include "top_screen.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

constexpr const char* kSortKeys[] = {"held",    "preemptions", "pending", "device",
                                     "latency", "priority",    "pid"};
constexpr char kKeyHelp[] =
    "q quit  s next sort key  r reverse  h held  p preemptions  n pending  d device  l latency  "
    "o priority  i pid";
constexpr char kShortKeyHelp[] = "q quit  s next  r reverse  h p n d l o i";
constexpr std::size_t kWide = 130;  // columns in which the long one fits

double NowS() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int Batch(Asker* asker, const TopOptions& options) {
  TopModel model;
  for (int i = 0; i < options.batch; ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_s));
    json reply;
    if (const int code = asker->Ask({{"op", "list"}}, "processes", &reply)) return code;
    if (options.json) {
      std::cout << reply.dump(-1, ' ', false, json::error_handler_t::replace) << "\n" << std::flush;
      continue;
    }
    model.Update(reply, NowS());
    std::cout << model.summary() << ", by " << options.sort << "\n";
    for (const std::string& line : TopLines(model.Rows(options.sort, options.reverse), 0)) {
      std::cout << line << "\n";
    }
    std::cout << std::flush;
  }
  return 0;
}

// False: leave.
bool OnKey(int key, TopOptions* options) {
  if (key == 'q' || key == 'Q' || key == 27) return false;
  if (key == 'r') options->reverse = !options->reverse;
  const std::string choices = "hpndloi";  // in the order of kSortKeys
  const std::size_t chosen = choices.find(static_cast<char>(key));
  if (key > 0 && key < 128 && chosen != std::string::npos) options->sort = kSortKeys[chosen];
  if (key == 's') {
    std::size_t at = 0;
    while (at < std::size(kSortKeys) && options->sort != kSortKeys[at]) ++at;
    options->sort = kSortKeys[(at + 1) % std::size(kSortKeys)];
  }
  return true;
}

int Interactive(Asker* asker, TopOptions options) {
  TopModel model;
  json reply;
  // What is wrong from the start belongs on stderr, not on a screen that vanishes.
  if (const int code = asker->Ask({{"op", "list"}}, "processes", &reply)) return code;
  model.Update(reply, NowS());
  Screen screen;
  if (!screen.Open()) {
    return Fail("top needs a terminal (TERM and a tty on input and output); use --batch N");
  }
  std::string trouble;
  double due_s = NowS() + options.interval_s;
  for (;;) {
    std::vector<std::string> lines = {
        "xsched-hsa top: " + (trouble.empty() ? model.summary() : trouble),
        "sorted by " + options.sort + (options.reverse ? " (reversed)" : "") + "   " +
            (screen.columns() < kWide ? kShortKeyHelp : kKeyHelp)};
    for (std::string& line :
         TopLines(model.Rows(options.sort, options.reverse), screen.columns())) {
      lines.push_back(std::move(line));
    }
    constexpr std::size_t kHeadingLine = 2;
    screen.Draw(lines, kHeadingLine);
    if (!OnKey(screen.WaitForKey(std::max(0.0, due_s - NowS())), &options)) return 0;
    if (NowS() < due_s) continue;
    due_s = NowS() + options.interval_s;
    trouble.clear();
    if (asker->Try({{"op", "list"}}, "processes", &reply, &trouble) == 0)
      model.Update(reply, NowS());
  }
}

}  // namespace

int Top(const std::string& socket, const TopOptions& options) {
  Asker asker(socket);
  return options.batch > 0 ? Batch(&asker, options) : Interactive(&asker, options);
}

}  // namespace xsched_hsa
