// xsched_hsad.cc: the controller's command line.
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "cli-help/from_cli11.h"
#include "clock.h"
#include "configuration.h"
#include "core.h"
#include "events.h"
#include "log_sinks.h"
#include "manual.h"
#include "policies/registry.h"
#include "server.h"
#include "socket_path.h"
#include "version.h"

namespace xsched_hsa {
namespace {

constexpr int kExitBadInput = 2;

// What was said on the command line; what was not is left to the configuration.
struct Arguments {
  ServerOptions server;
  std::string config_file;
  bool check_config = false;
  std::optional<std::string> policy, log_level;
  std::optional<std::uint32_t> window_us, linger_us, squeeze_units;
  std::vector<std::string> params;  // NAME=VALUE
  std::optional<std::vector<std::string>> mechanisms;
  std::optional<double> delay_budget_percent;
  bool cross_user = false;
};

// "<3>": an error, for who reads the journal by priority.
int Fail(const std::string& text) {
  std::cerr << (LogsToTheJournal() ? "<3>" : "") << "xsched-hsad: " << text << "\n";
  return kExitBadInput;
}
int Fail(const std::vector<std::string>& errors) {
  for (const std::string& error : errors) Fail(error);
  return kExitBadInput;
}

std::string OverrideParams(const Arguments& arguments, PolicyChoice* choice) {
  if (arguments.policy && *arguments.policy != choice->name) {
    choice->name = *arguments.policy;
    choice->params.clear();
  }
  if (arguments.window_us) choice->params["window_us"] = *arguments.window_us;
  if (arguments.linger_us) choice->params["linger_us"] = *arguments.linger_us;
  for (const std::string& param : arguments.params) {
    const std::size_t equals = param.find('=');
    char* end = nullptr;
    const char* number = equals != std::string::npos ? param.c_str() + equals + 1 : "";
    const double value = std::strtod(number, &end);
    if (*number == '\0' || *end != '\0') {
      return "--param " + param + " is not NAME=NUMBER; such as --param slice_ms=5";
    }
    choice->params[param.substr(0, equals)] = value;
  }
  return {};
}

// The command line's word over the files'. Policies of single GPUs stay theirs.
std::string Override(const Arguments& arguments, Config* config) {
  std::string error = OverrideParams(arguments, &config->policy);
  if (!error.empty()) return error;
  AllowedMechanisms& mechanisms = config->mechanisms;
  if (arguments.mechanisms) {
    const auto allowed = [&](const char* name) {
      return std::find(arguments.mechanisms->begin(), arguments.mechanisms->end(), name) !=
             arguments.mechanisms->end();
    };
    mechanisms.squeeze = allowed("squeeze");
    mechanisms.suspend = allowed("suspend");
    mechanisms.priority = allowed("priority");
    mechanisms.share = allowed("share");
  }
  if (arguments.delay_budget_percent) {
    mechanisms.delay_budget_percent = *arguments.delay_budget_percent;
  }
  if (arguments.squeeze_units) mechanisms.squeeze_units = *arguments.squeeze_units;
  if (arguments.log_level) config->log_level = *arguments.log_level;
  config->cross_user = config->cross_user || arguments.cross_user;
  return {};
}

void EventToJournal(const nlohmann::json& event) {
  JournalFields fields = {{"MESSAGE", KeyValueText(event)}, {"PRIORITY", std::to_string(LOG_INFO)}};
  for (const auto& [key, value] : event.items()) {
    std::string name = "XSCHED_HSA_" + key;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    fields.emplace_back(name,
                        value.is_string()
                            ? value.get<std::string>()
                            : value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  SendToJournal(fields);
}

// A socket that systemd has made for us: its descriptor, and its path into *path.
int InheritedSocket(std::string* path, std::string* error) {
  const int count = sd_listen_fds(1);
  if (count <= 0) return -1;
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (count > 1 ||
      getsockname(SD_LISTEN_FDS_START, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      address.sun_family != AF_UNIX) {
    *error = "systemd has handed over " + std::to_string(count) +
             " sockets; one Unix socket is wanted (ListenSequentialPacket=)";
    return -1;
  }
  *path = address.sun_path;
  return SD_LISTEN_FDS_START;
}

int CheckConfig(Configuration* configuration) {
  const std::vector<std::string> errors = configuration->Load();
  if (!errors.empty()) return Fail(errors);
  const Config& config = configuration->config();
  std::cout << "good: policy " << config.policy.name << ", " << config.rules.size() << " rules";
  for (const std::string& file : config.files) std::cout << "\n  " << file;
  if (config.files.empty()) std::cout << "\n  no configuration file; defaults";
  std::cout << "\n";
  return 0;
}

int Run(Arguments arguments) {
  Configuration configuration(arguments.config_file,
                              [&arguments](Config* config) { return Override(arguments, config); });
  if (arguments.check_config) return CheckConfig(&configuration);
  const std::vector<std::string> errors = configuration.Load();
  if (!errors.empty()) return Fail(errors);
  std::string error;
  std::string inherited_path;
  arguments.server.inherited_fd = InheritedSocket(&inherited_path, &error);
  if (!error.empty()) return Fail(error);
  if (arguments.server.inherited_fd >= 0) arguments.server.socket_path = inherited_path;
  arguments.server.notify = [](const char* state) { sd_notify(0, state); };

  SteadyClock clock;
  FutexWaker waker;
  Core core({.administrator = geteuid()}, &clock, MakePolicy("strict-priority", {}), &waker);
  Events events(&clock);
  const bool journal = LogsToTheJournal();
  events.SetSink([journal](const nlohmann::json& event) {
    if (journal) {
      EventToJournal(event);
    } else {
      spdlog::debug("{}", KeyValueText(event));
    }
  });
  core.SetObserver(&events);
  configuration.Apply(&core);
  ControllerInfo info;
  info.pid = getpid();
  info.socket = arguments.server.socket_path;
  info.configuration = &configuration;
  info.is_private = arguments.server.is_private;
  info.started_us = clock.NowUs();

  if (arguments.server.metrics.empty()) {
    arguments.server.metrics = configuration.config().metrics_listen;
  }
  Server server(arguments.server, &core, &info, &configuration, &events);
  error = server.Open();
  if (!error.empty()) return Fail(error);
  // A gate opens when this process runs; where we may, we run before the programs we serve.
  if (setpriority(PRIO_PROCESS, 0, -10) != 0) spdlog::debug("no right to raise our own priority");
  spdlog::info("xsched-hsad {} serves {} with policy {}{}", kVersion, info.socket,
               configuration.config().policy.name,
               configuration.config().cross_user ? ", across users" : "");
  server.Run();
  return 0;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app{
      "xsched-hsad: decides which GPU queues run. Programs join with 'xsched-hsa-ctl run'."};
  app.set_version_flag("--version", kVersion);
  app.name("xsched-hsad");
  bool help_man = false, help_bash = false;
  app.add_flag("--help-man", help_man)->group("");
  app.add_flag("--help-bash", help_bash)->group("");
  app.add_option("--config", arguments.config_file,
                 std::string("Configuration (else ") + kDefaultConfigFile +
                     " if it is there); with config.d/*.toml beside it. SIGHUP reads it anew");
  app.add_flag("--check-config", arguments.check_config,
               "Say what is wrong with the configuration, or that it is good, and leave");
  app.add_option("--socket", arguments.server.socket_path,
                 "Control socket (else $XSCHED_HSA_SOCKET, else the default place)");
  app.add_option("--policy", arguments.policy, "Policy: " + PolicyNames());
  app.add_option("--param", arguments.params,
                 "A parameter of the policy, NAME=NUMBER; may be given several times");
  app.add_option("--window-us", arguments.window_us,
                 "Predicted device time a less urgent queue may have exposed (200)")
      ->check(CLI::Range(1u, 1'000'000u));
  app.add_option("--linger-us", arguments.linger_us,
                 "Idle time after which an urgent queue counts as done (250)")
      ->check(CLI::Range(1u, 1'000'000u));
  app.add_option(
         "--mechanisms", arguments.mechanisms,
         "What may be done besides holding: any of squeeze, suspend, priority, share; or none")
      ->delimiter(',')
      ->check(CLI::IsMember({"squeeze", "suspend", "priority", "share", "none"}));
  app.add_option("--delay-budget", arguments.delay_budget_percent,
                 "What an urgent request may lose to a preemption, percent of its length (8)")
      ->check(CLI::Range(0.0, 1000.0));
  app.add_option("--squeeze-units", arguments.squeeze_units,
                 "Compute units a squeezed queue keeps (0: chosen at each request)")
      ->check(CLI::Range(0u, 1024u));
  app.add_flag("--cross-user", arguments.cross_user, "Programs of different users compete");
  app.add_flag("--private", arguments.server.is_private,
               "Serve this user only, and remove the socket's directory in the end");
  app.add_option("--exit-when-idle", arguments.server.exit_when_idle_s,
                 "Leave after so many seconds without a connection")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--metrics", arguments.server.metrics,
                 "Serve Prometheus metrics at unix:/path, 127.0.0.1:PORT or [::1]:PORT");
  app.add_option("--ready-fd", arguments.server.ready_fd,
                 "Write one byte to this descriptor when the socket answers");
  bool foreground = true;
  app.add_flag("--foreground", foreground, "Stay in the foreground (always the case)");
  app.add_option("--log-level", arguments.log_level, "trace, debug, info, warn, error or off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error", "off"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    return Fail(std::string(error.what()) + "; see xsched-hsad --help");
  }
  if (help_man || help_bash) {
    const CommandHelp help = DescribeCommand(app);
    std::cout << (help_man ? ManPage(help, Manual()) : BashCompletion(help));
    return 0;
  }
  if (arguments.server.socket_path.empty()) arguments.server.socket_path = ControllerSocketPath();
  spdlog::set_default_logger(MakeLogger());
  return Run(std::move(arguments));
}

}  // namespace
}  // namespace xsched_hsa

int main(int argc, char** argv) {
  try {
    return xsched_hsa::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "xsched-hsad: %s: it ends, every gate opens and programs run unscheduled\n",
                 error.what());
    return 1;
  }
}
