// client.h: talks to xsched-hsad as a tool: JSON requests over the control socket.
//
// Why        One small client for xsched-hsa-ctl, the experiments and the tests.
// Threads    one Client, one thread.
// Ownership  a Client owns its connection; a private controller with --exit-when-idle stays while
//            one is open.
// Errors     nothing is thrown. Connect and Call say in one line what went wrong and what to do. A
//            controller that refuses answers {"ok":false,"code":"bad-request|not-found|permission",
//            "error":"..."}; Call returns that as a reply.
// Limits     a request is at most kWireMessageMax bytes; a reply may be of any size.
//
// Requests and replies (fields are only added, never changed). N: a number, B: a boolean.
//   {"op":"info"}    {"ok":true,"controller":C}
//   {"op":"list","all":B,"run_token":"T","decisions":B}
//                    {"ok":true,"controller":C,"processes":[P...],"totals":T}
//                    all: ended sessions, too (the last 256); run_token: only these; decisions: P with
//                    "decisions" (decisions.h)
//   {"op":"stats"}   {"ok":true,"controller":C,"totals":T,"counters":{...}}  counters: core.h
//   {"op":"set-priority","pid":N,"queue":SERIAL,"priority":0..15}
//                    without queue: the whole process, also queues to come; priority null: back to what
//                    its rule or the program says
//   {"op":"set-weight","pid":N,"weight":1..10000}        null in each of these: back to the rule's
//   {"op":"set-cap","pid":N,"cap_percent":1..100}
//   {"op":"set-deadline","pid":N,"deadline_ms":N}        of each request, from its begin
//   {"op":"set-latency-target","pid":N,"latency_target_ms":N}
//   {"op":"set-share","pid":N,"share_percent":1..100}    of the compute units (policy cu-partition)
//   {"op":"hold"|"release"|"suspend"|"resume","pid":N,"queue":SERIAL}   suspend is a hold that also
//                    takes off the hardware what it has; release and resume end both
//   {"op":"cu-mask","pid":N,"queue":SERIAL,"units":1..|null}   + "units": what they keep, rounded down
//                    all of these: {"ok":true,"changed":N}  changed: live queues it applies to now
//   {"op":"policy"}  {"ok":true,"policies":[{"gpu":"*"|"0000:03:00.0","policy","parameters":{...}}...],
//                    "available":[{"name","summary","parameters":[{"name","unit","default","minimum",
//                    "maximum","summary"}...]}...]}   "*" is for every GPU without an entry
//   {"op":"policy","set":NAME,"gpu":ADDRESS,"parameters":{NAME:N}}   administrator only
//                    without gpu: for all, and the GPUs' own entries go; parameters that are not named
//                    have their defaults. A GPU that is not there is refused, where it is known which are
//   {"op":"devices"} {"ok":true,"devices":[D...]}   no GPU: an empty list
//   {"op":"events"}  {"ok":true,"following":true}, then one message an event (E), without end
//   {"op":"config"}  {"ok":true,"files":[...],"valid":B,"errors":[...],"effective":{...}}: what a reload
//                    would read now, and what is in force
//   {"op":"trace-start"|"trace-status"|"trace-stop"|"trace-read"}   trace_recorder.h
//   {"op":"reload"}  administrator only: {"ok":true,"files":[...]}, or the first error and nothing changed
// C = {"pid","version","abi_version","uptime_s","policy","policies":{"*":NAME,ADDRESS:NAME},"socket",
//      "cross_user","private"}
// P = {"session","pid","namespace_pid","pids":[outermost...innermost],"uid","gid","comm","exe","cgroup",
//      "tag","run_token","alive","layer":"up"|"ended","gate":"window"|"intercept"|"none",
//      "hsa_table_major","hsa_ext_table_bytes","priority","requested_priority" (the program's own),
//      "priority_by":"order"|"rule"|"program","rule":NAME|null,"class":{"priority","weight",
//      "cap_percent","share_percent","deadline_ms"|null,"latency_target_ms"|null},
//      "queues_passed_through","faults","refreshed","queues":[Q...],"queues_seen","totals":T,
//      "cycle_ms":N|null (a runlist cycle, measured),"mask_ms":N|null (a change of mask, likewise),
//      "reaction_ms":N|null (from an urgent doorbell to this program's preemptor),"decisions_made",
//      "requests":{"begun","ended","missed","open","latency":L},"bursts":L}
//      refreshed: the mirrors below were renewed for this request; false: as the layer last left them
// L = {"count","mean_ms","p50_ms","p95_ms","p99_ms","max_ms"}  null where count is 0; percentiles are
//      at most 12.5 % too high
// Q = {"serial","gpu":"0000:03:00.0","kfd_queue_id":N|null,"priority","requested_priority",
//      "priority_by","state",
//      "effective_priority" (with the policy's raise),"ring_packets","active","submitted","published",
//      "read","pending","packets_held","holds","held_ms","held_max_ms","raises","squeezes","suspends",
//      "restricted_ms","device_ms" (shared_page.h),"deadline_in_ms"|null,"standing_mask":{"first",
//      "units"}|null,"mechanisms":[...],"armed","raise","operator_hold","turn" (a policy lets it wait)}
//      state: running (work in it), idle, holding (gate closed, exposed packets still running), held,
//      squeezed, suspended, sharing (left alone beside urgent work), foreign (bypasses the API, never
//      held), destroyed
// T = {"processes","queues","packets_submitted","packets_published","packets_read","packets_held",
//      "preemptions" (times a gate closed on work),"held_ms","held_max_ms","raises","squeezes",
//      "suspends","restricted_ms","device_ms","faults","queues_passed_through"}
//      T of list is over the processes listed; T of stats over all live and the last 256 ended ones.
// D = {"gpu":ADDRESS,"node","gpu_id","name","gfx":"gfx942","compute_units","xcc","shader_engines",
//      "shader_arrays","cus_per_array","simd_per_cu","waves_per_simd","lds_kb","clock_mhz",
//      "memory_mb","memory_clock_mhz"|null,"render_node"|null,"compute_partition"|null,
//      "memory_partition"|null,"cwsr_enable"|null,"sched_policy"|null,"queues_max","policy"}
//      null: the driver does not say
// E = {"event":KIND,"at_us",...}; KIND and its fields:
//      "session" {"state":"up"|"ended","session","pid","comm"}
//      "rule" {"session","pid","rule":NAME|null}: which rule its class is from, now
//      "queue" {"state":"made"|"destroyed","session","pid","queue","gpu","priority"}
//      "preemption" {"gpu","level","lasted_ms","held_queues"}: the urgent work was done just now
//      "policy" {"gpu","policy"}   "reload" {"files"}   "error" {"text"}
//      "lost" {"events":N}: so many were not sent, because this reader was slow
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
  // The next message after "events". Nothing and an empty *error: none within the time; it is still
  // connected. timeout_ms -1: waits.
  std::optional<nlohmann::json> Next(std::string* error, int timeout_ms);

 private:
  std::optional<nlohmann::json> Receive(std::string* error, int timeout_ms, bool* timed_out);
  explicit Client(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace xsched_hsa
