// process.h: starts programs for cross-process tests, with a bound on everything.
//
// Threads    one test, one thread.
// Ownership  a Process kills and reaps its program's whole process group when it goes out of scope.
// Errors     a program that can't be started shows as exit code 127.
// Bounds     are a sanitizer's several times over (kPatience): how long a test waits must not decide it.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

namespace xsched_hsa_tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kPatience = 5;  // XSCHED_HSA_PATIENCE of tools/cmake/testing.cmake
#else
inline constexpr int kPatience = 1;
#endif

struct Result {
  int exit_code = -1;  // 128 + signal when killed, -1 on timeout
  bool timed_out = false;
  std::string out, err;
};

using Environment = std::map<std::string, std::string>;

class Process {
 public:
  // `environment` is added to the test's own.
  Process(const std::vector<std::string>& command, const Environment& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  int pid() const { return pid_; }
  void Write(const std::string& text);  // to its standard input
  void CloseInput();
  // Waits until its standard output holds `text`. False on timeout or end.
  bool WaitForOutput(const std::string& text,
                     std::chrono::seconds timeout = std::chrono::seconds(30));
  Result Wait(std::chrono::seconds timeout = std::chrono::seconds(60));
  void Signal(int signal);

 private:
  bool Pump(int timeout_ms);  // reads what there is; false when both pipes are closed

  int pid_ = -1;
  int in_ = -1, out_ = -1, err_ = -1;
  std::string out_text_, err_text_;
  bool reaped_ = false;
  int status_ = 0;
};

Result Run(const std::vector<std::string>& command, const Environment& environment = {},
           std::chrono::seconds timeout = std::chrono::seconds(60));

// For LD_PRELOAD of a program that is not instrumented and loads what is: TSan's runtime finds no room later.
// Empty where there is no need.
std::string RuntimeToPreload();

// Paths in the build tree.
std::string Bin(const std::string& name);
std::string Layer();
std::string BuildFile(const std::string& path);

// A directory that is removed, with what is in it, at the end of the scope.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace xsched_hsa_tests
