// trace_check.h: is a text a timeline that Perfetto loads? For tests.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

namespace xsched_hsa::testing {

// The events without the metadata; every rule of Chrome's trace-event format that they could break is
// an expectation here.
inline nlohmann::json CheckedTrace(const std::string& text) {
  using nlohmann::json;
  const json trace = json::parse(text, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(trace.is_object()) << text.substr(0, 200);
  json events = json::array();
  if (!trace.is_object()) return events;
  EXPECT_TRUE(trace.at("traceEvents").is_array());
  std::map<std::pair<json, json>, std::vector<std::string>> open;
  std::map<std::pair<json, json>, double> busy_until;
  std::set<std::vector<json>> asynchronous;
  double last_ts = 0;
  for (const json& event : trace.at("traceEvents")) {
    for (const char* field : {"ph", "pid", "tid", "ts", "name"}) {
      EXPECT_TRUE(event.contains(field)) << field << " in " << event;
    }
    const std::string phase = event.value("ph", "");
    if (phase == "M") continue;
    EXPECT_GE(event["ts"].get<double>(), last_ts) << event;
    last_ts = event["ts"].get<double>();
    const std::pair<json, json> track{event["pid"], event["tid"]};
    if (phase == "B") open[track].push_back(event["name"]);
    if (phase == "E") {
      const bool matches =
          !open[track].empty() && open[track].back() == event["name"].get<std::string>();
      EXPECT_TRUE(matches) << event;
      if (matches) open[track].pop_back();
    }
    // Whose process it is makes no difference: Perfetto knows an open span by these three.
    if (phase == "b" || phase == "e") {
      const std::vector<json> span = {event.at("cat"), event["name"], event.at("id")};
      const std::size_t known = asynchronous.erase(span);
      EXPECT_EQ(known, phase == "b" ? 0u : 1u) << event;
      if (phase == "b") asynchronous.insert(span);
    }
    if (phase == "X") {
      EXPECT_GE(event.at("dur").get<double>(), 0);
      // Spans that overlap are dropped (perfetto.dev/docs/faq).
      EXPECT_GE(last_ts, busy_until[track] - 0.001) << event;
      busy_until[track] = last_ts + event["dur"].get<double>();
    }
    if (phase == "C") {
      EXPECT_TRUE(event.at("args").at("value").is_number()) << event;
    }
    if (phase == "i") {
      EXPECT_EQ(event.at("s"), "t");
    }
    EXPECT_NE(std::string("BEbeXCi").find(phase), std::string::npos) << event;
    events.push_back(event);
  }
  for (const auto& [track, names] : open) EXPECT_TRUE(names.empty()) << "open on " << track.second;
  EXPECT_TRUE(asynchronous.empty());
  return events;
}

inline int CountEvents(const nlohmann::json& events, const std::string& phase,
                       const std::string& name) {
  int count = 0;
  for (const auto& event : events) count += event["ph"] == phase && event["name"] == name;
  return count;
}

}  // namespace xsched_hsa::testing
