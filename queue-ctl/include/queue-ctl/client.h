// client.h: talks to xsched-hsad as a tool: JSON requests over the control socket.
//
// Why        One small client for xsched-hsa-ctl, the experiments and the tests.
// Threads    one Client, one thread.
// Ownership  a Client owns its connection; a private controller with --exit-when-idle stays while
// one
//            is open.
// Errors     nothing is thrown. Connect and Call say in one line what went wrong and what to do. A
//            controller that refuses answers {"ok":false,"code":"bad-request|not-found|permission",
//            "error":"..."}; Call returns that as a reply.
// Limits     a request is at most kWireMessageMax bytes; a reply may be of any size.
//
// Requests and replies (fields are only added, never changed):
//   {"op":"info"}    {"ok":true,"controller":C}
//   {"op":"list","all":B,"run_token":"T","decisions":B}  decisions: P with "decisions" (decisions.h);
//   all: ended sessions, too (the last 256); run_token: only
//   these
//                    {"ok":true,"controller":C,"processes":[P...],"totals":T}
//   {"op":"stats"}   {"ok":true,"controller":C,"totals":T,"counters":{...}}  counters: session.h,
//   core.h
//   {"op":"set-priority","pid":N,"queue":SERIAL,"priority":0..15}   without queue: the whole
//   process,
//                    also queues to come; priority null: back to what the program asked for
//   {"op":"hold"|"release","pid":N,"queue":SERIAL}
//                    {"ok":true,"changed":N}  changed: live queues that it applies to now
// C = {"pid","version","abi_version","uptime_s","policy","socket","cross_user","private"}
// P = {"session","pid","namespace_pid","uid","comm","exe","run_token","alive","layer":"up"|"ended",
//      "gate":"window"|"intercept"|"none","hsa_table_major","hsa_ext_table_bytes","priority",
//      "queues_passed_through","faults","refreshed","queues":[Q...],"queues_seen","totals":T,
//      "cycle_ms":N|null (a runlist cycle, measured),"decisions_made"}
//      refreshed: the mirrors below were renewed for this request; false: as the layer last left
//      them
// Q = {"serial","gpu":"0000:03:00.0","kfd_queue_id":N|null,"priority","requested_priority","state",
//      "ring_packets","active","submitted","published","read","pending","packets_held","holds",
//      "held_ms","held_max_ms","raises","squeezes","suspends","restricted_ms","mechanisms":[...],
//      "armed","raise","operator_hold"}
//      state: running (work in it), idle, holding (gate closed, exposed packets still running),
//      held, foreign (bypasses the API, never held), destroyed
// T = {"processes","queues","packets_submitted","packets_published","packets_read","packets_held",
//      "preemptions" (times a gate closed on work),"held_ms","held_max_ms","raises","faults",
//      "queues_passed_through"}
//      T of list is over the processes listed; T of stats over all live and the last 256 ended
//      ones.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace xsched_hsa {

// Where tools and layers look (wire.h, "Socket").
std::string DefaultSocketPath();

class Client {
 public:
  // Fails also when the listener belongs to another user than root and the caller.
  static std::optional<Client> Connect(const std::string& socket_path, std::string* error);
  Client(Client&& other) noexcept;
  Client& operator=(Client&& other) noexcept;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  std::optional<nlohmann::json> Call(const nlohmann::json& request, std::string* error,
                                     int timeout_ms = 5000);

 private:
  explicit Client(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace xsched_hsa
