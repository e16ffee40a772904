#include "show.h"

#include <cstdio>
#include <iostream>

#include "arguments.h"
#include "ask.h"
#include "container.h"
#include "hqd_dump.h"
#include "table.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;

// By what the controller has read when the program joined: this tool may be in a container, where that
// process id is another program's.
json PlaceJson(const json& process) {
  const std::string cgroup = process.value("cgroup", "");
  const Container container = ParseCgroup(cgroup.empty() ? "" : "0::" + cgroup);
  const auto text = [](const std::string& value) { return value.empty() ? json() : json(value); };
  return {{"namespace_pids", process.value("pids", json::array())},
          {"cgroup", text(container.cgroup)},
          {"container", text(container.id)},
          {"container_runtime", text(container.runtime)},
          {"pod", text(container.pod)}};
}

std::string Hex(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

// Which of the process's MQDs is the queue's: by its ring, and without that by elimination only.
const Mqd* MqdOf(const std::vector<Mqd>& mqds, const json& queue) {
  const auto ring = queue.find("ring_base");
  if (ring == queue.end() || !ring->is_number_unsigned() || *ring == 0) {
    return mqds.size() == 1 ? &mqds.front() : nullptr;
  }
  for (const Mqd& mqd : mqds) {
    if (mqd.ring_base == ring->get<std::uint64_t>()) return &mqd;
  }
  return nullptr;
}

json HardwareJson(const Dumps& dumps, const std::vector<Mqd>& mqds, const json& queue) {
  const Mqd* mqd = MqdOf(mqds, queue);
  if (mqd == nullptr) return {{"why", "the driver's dumps have no queue with this ring"}};
  json slots = json::array();
  for (const HqdSlot& slot : FindSlots(dumps.hqds, *mqd)) {
    slots.push_back(
        {{"xcc", slot.xcc}, {"pipe", slot.pipe}, {"queue", slot.queue}, {"vmid", slot.vmid}});
  }
  json masks = json::array();
  for (const std::uint32_t mask : mqd->se_masks) masks.push_back(Hex(mask));
  return {{"ring_base", Hex(mqd->ring_base)},
          {"doorbell_words", mqd->doorbell >> 2},
          {"pipe_priority", mqd->pipe_priority},
          {"queue_priority", mqd->queue_priority},
          {"quantum", Hex(mqd->quantum)},
          {"se_masks", masks},
          {"slots", slots}};
}

void AddHardware(int pid, bool alive, json* process) {
  std::string why;
  const auto dumps = ReadDumps(&why);
  std::vector<Mqd> mqds;
  if (dumps) mqds = MqdsOfProcess(dumps->mqds, pid);
  for (json& queue : process->at("queues")) {
    if (!alive || queue.value("state", "") == "destroyed") {
      queue["hardware"] = {{"why", "the queue is gone"}};
    } else if (!dumps) {
      queue["hardware"] = {{"why", "not readable: " + why}};
    } else {
      queue["hardware"] = HardwareJson(*dumps, mqds, queue);
    }
  }
}

void Line(const char* name, const std::string& text) {
  std::printf("  %-22s %s\n", name, text.c_str());
}

std::string PlaceText(const json& hardware) {
  if (hardware.contains("why")) return hardware["why"].get<std::string>();
  if (hardware["slots"].empty()) return "in no slot now (not mapped)";
  std::string text;
  for (const json& slot : hardware["slots"]) {
    text += (text.empty() ? "XCC " : ", XCC ") + slot["xcc"].dump() + " pipe " +
            slot["pipe"].dump() + " queue " + slot["queue"].dump();
  }
  return text;
}

// A mask is shown by the engines that some program or the layer has narrowed.
std::string MaskText(const json& queue) {
  const json& hardware = queue.at("hardware");
  std::string text;
  if (hardware.contains("se_masks")) {
    bool full = true;
    for (const json& mask : hardware["se_masks"]) {
      full = full && mask == "0xffffffff";
      text += (text.empty() ? "per engine " : " ") + mask.get<std::string>();
    }
    if (full) text = "all compute units";
  } else {
    text = "not readable (see 'in hardware')";
  }
  const std::string state = Cell(queue, "state");
  if (state == "squeezed") text += ", squeezed now";
  if (const json standing = queue.value("standing_mask", json()); standing.is_object()) {
    text += ", standing order: " + Cell(standing, "units") + " from " + Cell(standing, "first");
  }
  return text;
}

// As set, by whom, and what the program itself had asked for.
std::string PriorityText(const json& object) {
  const std::string by = Cell(object, "priority_by");
  return Cell(object, "priority") + " set by " +
         (by == "order"  ? "an operator"
          : by == "rule" ? "its rule"
                         : "its program") +
         ", " + Cell(object, "requested_priority") + " asked for";
}

// What policies go by besides the priority.
std::string ClassText(const json& given) {
  std::string text = "weight " + Cell(given, "weight");
  const double cap = given.value("cap_percent", 100.0), share = given.value("share_percent", 0.0);
  text += cap >= 100 ? ", no cap" : ", cap " + Cell(given, "cap_percent") + " % of the time";
  text += share <= 0 ? ", share by weight"
                     : ", share " + Cell(given, "share_percent") + " % of the compute units";
  for (const auto& [key, name] :
       {std::pair{"deadline_ms", "deadline"}, {"latency_target_ms", "latency target"}}) {
    const bool is_set = !given.value(key, json()).is_null();
    text += is_set ? std::string(", ") + name + " " + Milliseconds(given, key) + " ms"
                   : std::string(", no ") + name;
  }
  return text;
}

std::string HardwareText(const json& hardware) {
  if (hardware.contains("why")) return "";
  return "; the hardware queue has " + hardware["queue_priority"].dump() + " (pipe " +
         hardware["pipe_priority"].dump() + ")";
}

std::string MechanismsText(const json& queue, const json& process) {
  std::string text = Cell(process, "gate");
  for (const json& one : queue.value("mechanisms", json::array())) {
    text += ", " + one.get<std::string>();
  }
  return text;
}

void PrintQueue(const json& process, const json& queue) {
  std::cout << "queue " << Cell(process, "pid") << ":" << Cell(queue, "serial") << " on "
            << Cell(queue, "gpu") << "\n"
            << std::flush;
  Line("state", Cell(queue, "state"));
  Line("KFD queue id", queue.at("kfd_queue_id").is_null()
                           ? "not known (the driver's list was not unambiguous)"
                           : Cell(queue, "kfd_queue_id"));
  Line("ring", Cell(queue, "ring_packets") + " packets" +
                   (queue.value("ring_base", std::uint64_t{0}) != 0
                        ? " at " + Hex(queue["ring_base"].get<std::uint64_t>())
                        : ""));
  Line("write index", Cell(queue, "published") + " published, " + Cell(queue, "submitted") +
                          " submitted by the program");
  Line("read index", Cell(queue, "read") + ", " + Cell(queue, "pending") + " pending");
  Line("priority", Cell(queue, "effective_priority") + " effective, " + PriorityText(queue) +
                       HardwareText(queue.at("hardware")));
  Line("compute units", MaskText(queue));
  Line("gate and mechanisms", MechanismsText(queue, process));
  Line("in hardware", PlaceText(queue.at("hardware")));
  Line("held", Cell(queue, "packets_held") + " packets in " + Cell(queue, "holds") + " holds, " +
                   Milliseconds(queue, "held_ms") + " ms, longest " +
                   Milliseconds(queue, "held_max_ms"));
  Line("device time", Milliseconds(queue, "device_ms") + " ms");
  Line("preempted", Cell(queue, "squeezes") + " squeezes, " + Cell(queue, "suspends") +
                        " suspends, " + Milliseconds(queue, "restricted_ms") + " ms");
}

void PrintTimes(const char* name, const json& times) {
  if (!times.is_object() || times.value("count", 0) == 0) return;
  Line(name, Cell(times, "count") + ": P50 " + Milliseconds(times, "p50_ms") + ", P95 " +
                 Milliseconds(times, "p95_ms") + ", P99 " + Milliseconds(times, "p99_ms") +
                 ", longest " + Milliseconds(times, "max_ms") + " ms (host time)");
}

void PrintProcess(const json& process) {
  const json& local = process.at("local");
  std::cout << "process " << Cell(process, "pid") << " " << Cell(process, "comm")
            << (process.value("alive", false) ? "" : " (ended)") << "\n"
            << std::flush;
  std::string pids;
  for (const json& pid : local.at("namespace_pids"))
    pids += (pids.empty() ? "" : " > ") + pid.dump();
  Line("program", Cell(process, "exe"));
  Line("process ids", (pids.empty() ? Cell(process, "pid") : pids) + ", itself it sees " +
                          Cell(process, "namespace_pid"));
  Line("user", Cell(process, "uid"));
  std::string container = Cell(local, "container");
  if (container != "-") container = Cell(local, "container_runtime") + " " + container;
  if (Cell(local, "pod") != "-") container += ", pod " + Cell(local, "pod");
  Line("container", container == "-" ? "none" : container);
  Line("cgroup", Cell(local, "cgroup"));
  Line("rule", Cell(process, "rule"));
  Line("priority", PriorityText(process));
  Line("class", ClassText(process.value("class", json::object())));
  Line("runtime", "HSA tables " + Cell(process, "hsa_table_major") + ", extensions " +
                      Cell(process, "hsa_ext_table_bytes") + " bytes");
  for (const auto& [name, key] : {std::pair{"runlist cycle", "cycle_ms"},
                                  {"change of mask", "mask_ms"},
                                  {"reaction to a request", "reaction_ms"}}) {
    const bool measured = !process.value(key, json()).is_null();
    Line(name, measured ? Milliseconds(process, key) + " ms" : "not measured");
  }
  if (process.value("queues_passed_through", 0u) + process.value("faults", 0u) != 0) {
    Line("not managed", Cell(process, "queues_passed_through") + " queues passed through, " +
                            Cell(process, "faults") + " faults of the layer");
  }
  const json requests = process.value("requests", json::object());
  if (!requests.empty()) {
    Line("marked requests", Cell(requests, "ended") + " ended, " + Cell(requests, "open") +
                                " open, " + Cell(requests, "missed") + " late");
    PrintTimes("  their latency", requests.value("latency", json()));
  }
  PrintTimes("bursts of work", process.value("bursts", json()));
  for (const json& queue : process.at("queues")) PrintQueue(process, queue);
}

// The processes with that pid as the controller sees it; failing that, as they see themselves.
json Chosen(const json& processes, const QueueName& name) {
  for (const char* key : {"pid", "namespace_pid"}) {
    json found = json::array();
    for (const json& process : processes) {
      if (process.value(key, 0) == name.pid) found.push_back(process);
    }
    // An ended program whose id is used again is of no interest beside the living one.
    json living = json::array();
    for (const json& process : found) {
      if (process.value("alive", false)) living.push_back(process);
    }
    if (!living.empty()) return living;
    if (!found.empty()) return json::array({found.back()});
  }
  return json::array();
}

// Leaves only that queue, of the newest owner of the serial. False: nobody has it.
bool KeepQueue(std::uint32_t serial, json* process) {
  json kept;
  for (const json& queue : process->at("queues")) {
    if (queue.value("serial", 0u) == serial) kept = queue;
  }
  if (kept.is_null()) return false;
  (*process)["queues"] = json::array({kept});
  return true;
}

}  // namespace

int Show(const std::string& socket, const std::string& target, bool as_json) {
  std::string error;
  const auto name = ParseQueueName(target, &error);
  if (!name) return Fail(error);
  json reply;
  if (const int code = Asker(socket).Ask({{"op", "list"}, {"all", true}}, "processes", &reply))
    return code;
  json shown = json::array();
  const json chosen = Chosen(reply.at("processes"), *name);
  if (chosen.empty()) {
    return Fail("no program with pid " + std::to_string(name->pid) +
                " is known; 'xsched-hsa-ctl list --all' shows those that are");
  }
  for (json process : chosen) {
    if (name->serial && !KeepQueue(*name->serial, &process)) continue;
    const int pid = process.value("pid", 0);
    const bool alive = process.value("alive", false);
    process["local"] = PlaceJson(process);
    AddHardware(pid, alive, &process);
    shown.push_back(std::move(process));
  }
  if (shown.empty()) {
    return Fail("pid " + std::to_string(name->pid) + " has no queue " +
                std::to_string(name->serial.value_or(0)) +
                "; 'xsched-hsa-ctl list --all' shows those it has");
  }
  if (as_json) {
    PrintJson({{"controller", reply.at("controller")}, {"processes", shown}});
    return 0;
  }
  for (const json& process : shown) PrintProcess(process);
  return 0;
}

}  // namespace xsched_hsa
