// xsched_hsad.cc: the controller's command line.
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "clock.h"
#include "core.h"
#include "policies/registry.h"
#include "server.h"
#include "socket_path.h"
#include "version.h"

namespace xsched_hsa {
namespace {

constexpr int kExitBadInput = 2;

struct Arguments {
  ServerOptions server;
  std::string policy = "strict-priority";
  std::string log_level = "info";
  PolicyParams params;
  std::vector<std::string> mechanisms = {"squeeze", "suspend", "priority", "share"};
  double delay_budget_percent = 8;
  bool cross_user = false;
};

int Fail(const std::string& text) {
  std::cerr << "xsched-hsad: " << text << "\n";
  return kExitBadInput;
}

PolicyParams ParamsOf(const Arguments& arguments) {
  PolicyParams params = arguments.params;
  const auto allowed = [&](const char* name) {
    return std::find(arguments.mechanisms.begin(), arguments.mechanisms.end(), name) !=
           arguments.mechanisms.end();
  };
  params.preemption.squeeze = allowed("squeeze");
  params.preemption.suspend = allowed("suspend");
  params.preemption.share = allowed("share");
  params.preemption.delay_budget_permille =
      static_cast<std::uint32_t>(arguments.delay_budget_percent * 10);
  params.hardware_priority = allowed("priority");
  return params;
}

int Run(const Arguments& arguments) {
  auto policy = MakePolicy(arguments.policy, ParamsOf(arguments));
  if (policy == nullptr) {
    return Fail("there is no policy '" + arguments.policy + "'; there are: " + PolicyNames());
  }
  SteadyClock clock;
  FutexWaker waker;
  Core core({.cross_user = arguments.cross_user}, &clock, std::move(policy), &waker);
  ControllerInfo info;
  info.pid = getpid();
  info.socket = arguments.server.socket_path;
  info.cross_user = arguments.cross_user;
  info.is_private = arguments.server.is_private;
  info.started_us = clock.NowUs();

  Server server(arguments.server, &core, &info);
  const std::string error = server.Open();
  if (!error.empty()) return Fail(error);
  // A gate opens when this process runs; where we may, we run before the programs we serve.
  if (setpriority(PRIO_PROCESS, 0, -10) != 0) spdlog::debug("no right to raise our own priority");
  spdlog::info("xsched-hsad {} serves {} with policy {}{}", kVersion, info.socket, arguments.policy,
               arguments.cross_user ? ", across users" : "");
  server.Run();
  return 0;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "xsched-hsad: decides which GPU queues run. Programs join with 'xsched-hsa-ctl run'."};
  app.set_version_flag("--version", kVersion);
  app.add_option("--socket", arguments.server.socket_path,
                 "Control socket (else $XSCHED_HSA_SOCKET, else the default place)");
  app.add_option("--policy", arguments.policy, "Policy: " + PolicyNames())->capture_default_str();
  app.add_option("--window-us", arguments.params.window_us,
                 "Predicted device time a less urgent queue may have exposed")
      ->check(CLI::Range(1u, 1'000'000u))
      ->capture_default_str();
  app.add_option("--linger-us", arguments.params.linger_us,
                 "Idle time after which an urgent queue counts as done")
      ->check(CLI::Range(1u, 1'000'000u))
      ->capture_default_str();
  app.add_option(
         "--mechanisms", arguments.mechanisms,
         "What may be done besides holding: any of squeeze, suspend, priority, share; or none")
      ->delimiter(',')
      ->check(CLI::IsMember({"squeeze", "suspend", "priority", "share", "none"}))
      ->capture_default_str();
  app.add_option("--delay-budget", arguments.delay_budget_percent,
                 "What an urgent request may lose to a preemption, percent of its length")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  app.add_option("--squeeze-units", arguments.params.preemption.squeeze_units,
                 "Compute units a squeezed queue keeps (0: chosen at each request)")
      ->check(CLI::Range(0u, 1024u));
  app.add_flag("--cross-user", arguments.cross_user, "Programs of different users compete");
  app.add_flag("--private", arguments.server.is_private,
               "Serve this user only, and remove the socket's directory in the end");
  app.add_option("--exit-when-idle", arguments.server.exit_when_idle_s,
                 "Leave after so many seconds without a connection")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--ready-fd", arguments.server.ready_fd,
                 "Write one byte to this descriptor when the socket answers");
  bool foreground = true;
  app.add_flag("--foreground", foreground, "Stay in the foreground (always the case)");
  app.add_option("--log-level", arguments.log_level, "trace, debug, info, warn, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return Fail(std::string(error.what()) + "; see xsched-hsad --help");
  }
  if (arguments.server.socket_path.empty()) arguments.server.socket_path = ControllerSocketPath();
  auto logger = spdlog::stderr_logger_st("xsched-hsad");
  logger->set_pattern("%n: %H:%M:%S.%f %l: %v");
  logger->set_level(spdlog::level::from_str(arguments.log_level));
  spdlog::set_default_logger(logger);
  return Run(arguments);
}

}  // namespace
}  // namespace xsched_hsa

int main(int argc, char** argv) { return xsched_hsa::Main(argc, argv); }
