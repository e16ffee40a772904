// Timelines out of records, also of records that began too late, end too early, or lie.
#include "trace_format.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "queue-ctl/trace_page.h"
#include "trace_check.h"

namespace xsched_hsa {
namespace {

using nlohmann::json;
using testing::CheckedTrace;
using testing::CountEvents;

Recording Small() {
  Recording recording;
  recording.processes = {{{"session", 1}, {"pid", 42}, {"comm", "tr\"ain"}, {"gpu_base", 0}},
                         {{"session", 2}, {"pid", 43}, {"comm", "serve"}, {"gpu_base", 0}}};
  recording.gpus = {{{"index", 0}, {"gpu", "0000:03:00.0"}}};
  return recording;
}

TEST(TraceFormatTest, CopiesOfAProgramAreToldApartAndTheMostUrgentIsOnTop) {
  Recording recording = Small();
  for (json& process : recording.processes) process["comm"] = "dual-model";
  recording.processes[0]["priority"] = 0;
  recording.processes[1]["priority"] = 15;
  recording.records = {{1000, 2, kTraceRaise, 6, 16, 0}, {1100, 0, kTraceUrgency, 0, 16, 0}};
  std::map<int, std::string> names;
  std::map<int, int> places;
  const std::string text = ChromeTrace(recording);
  CheckedTrace(text);
  const json trace = json::parse(text);
  for (const json& event : trace["traceEvents"]) {
    if (event["name"] == "process_name") names[event["pid"]] = event["args"]["name"];
    if (event["name"] == "process_sort_index") places[event["pid"]] = event["args"]["sort_index"];
  }
  EXPECT_EQ(names[42], "dual-model (priority 0)");
  EXPECT_EQ(names[43], "dual-model (priority 15)");
  EXPECT_LT(places[43], places[42]);
  EXPECT_EQ(names.size(), 3u);  // and the GPU, above both
  for (const auto& [pid, place] : places) EXPECT_EQ(place < 0, pid != 42 && pid != 43);
}

TEST(TraceFormatTest, ARequestHoldsAndLetsGo) {
  Recording recording = Small();
  recording.records = {{1000, 1, kTracePublish, 5, 10, 12},     {1500, 1, kTraceTaken, 5, 11, 0},
                       {2000, 2, kTraceRaise, 6, 16, 0},        {2100, 1, kTraceClosed, 5, 3, 0},
                       {2200, 1, kTraceSuspend, 5, 0, 150'000}, {5000, 2, kTraceDrained, 6, 0, 0},
                       {5100, 0, kTraceUrgency, 0, 0, 0},       {5200, 1, kTraceOpened, 5, 3, 0},
                       {5300, 1, kTraceLift, 5, 0, 9'000}};
  recording.decisions = {{{"session", 1},
                          {"at_us", 2},
                          {"mechanism", "suspend"},
                          {"reason", "least delay"},
                          {"predicted_delay_ms", 0.2},
                          {"request_ms", 2.5},
                          {"measured_ms", 3.0}}};
  const json events = CheckedTrace(ChromeTrace(recording));
  EXPECT_EQ(CountEvents(events, "B", "closed"), 1);
  EXPECT_EQ(CountEvents(events, "B", "suspended"), 1);
  EXPECT_EQ(CountEvents(events, "B", "active"), 1);
  EXPECT_EQ(CountEvents(events, "i", "published"), 1);
  EXPECT_EQ(CountEvents(events, "X", "suspend"), 1);
  EXPECT_EQ(CountEvents(events, "C", "queue 5 exposed"), 1);
  // Predicted beside measured, and as long as it took.
  for (const json& event : events) {
    if (event["ph"] != "X") continue;
    EXPECT_EQ(event["dur"], 3000.0);
    EXPECT_EQ(event["args"]["predicted_delay_ms"], 0.2);
    EXPECT_EQ(event["args"]["request_ms"], 2.5);
    EXPECT_EQ(event["args"]["measured_ms"], 3.0);
    EXPECT_EQ(event["args"]["reason"], "least delay");
  }
  std::vector<int> levels;
  for (const json& event : events) {
    if (event["name"] == "urgency level") levels.push_back(event["args"]["value"]);
  }
  EXPECT_EQ(levels, (std::vector<int>{16, 0}));
}

// Programs count their requests each from 1, and have several queues that are preempted at once.
TEST(TraceFormatTest, EqualNumbersOfTwoProgramsAndDecisionsAtOneTimeStayApart) {
  Recording recording = Small();
  recording.records = {{1000, 1, kTraceRequestBegin, 0, 1, 0},
                       {1500, 2, kTraceRequestBegin, 0, 1, 0},
                       {2000, 1, kTraceRequestEnd, 0, 1, 0},
                       {2500, 2, kTraceRequestEnd, 0, 1, 0}};
  const auto decision = [](int queue, int at_us, double measured_ms) {
    return json{{"session", 1},
                {"queue", queue},
                {"at_us", at_us},
                {"mechanism", "hold"},
                {"measured_ms", measured_ms}};
  };
  // Two queues at once, and a second look at the first one's request.
  recording.decisions = {decision(5, 10, 3), decision(6, 11, 1), decision(5, 1010, 2.5)};
  const json events = CheckedTrace(ChromeTrace(recording));
  EXPECT_EQ(CountEvents(events, "b", "request"), 2);
  EXPECT_EQ(CountEvents(events, "X", "hold"), 3);
  std::vector<double> durations;
  for (const json& event : events) {
    if (event["ph"] == "X") durations.push_back(event["dur"]);
  }
  EXPECT_EQ(durations, (std::vector<double>{1000, 1000, 2500})) << "the first ends with the second";
}

TEST(TraceFormatTest, WhatIsCutAtEitherEndStaysBalanced) {
  Recording recording = Small();
  recording.records = {{1, 1, kTraceOpened, 5, 0, 0},      {2, 1, kTraceLift, 5, 0, 0},
                       {3, 1, kTraceClosed, 5, 1, 0},      {4, 1, kTraceClosed, 5, 1, 0},
                       {5, 1, kTraceSqueeze, 5, 8, 0},     {6, 2, kTraceRequestEnd, 0, 1, 0},
                       {7, 2, kTraceRequestBegin, 0, 2, 0}};
  const json events = CheckedTrace(ChromeTrace(recording));
  EXPECT_EQ(CountEvents(events, "E", "squeezed"), 1);
  EXPECT_EQ(CountEvents(events, "e", "request"), 1);
}

TEST(TraceFormatTest, WhateverALayerWroteTheTimelineIsValid) {
  std::mt19937 random(7);
  Recording recording = Small();
  for (int i = 0; i < 3000; ++i) {
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    recording.records.push_back({below(5000), below(4), below(40), below(UINT32_MAX),
                                 std::uint64_t{below(UINT32_MAX)} << below(33), below(9)});
  }
  CheckedTrace(ChromeTrace(recording));
  CheckedTrace(ChromeTrace(Recording{}));
}

}  // namespace
}  // namespace xsched_hsa
