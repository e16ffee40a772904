// metrics.h: the controller's state as Prometheus' text format, version 0.0.4.
//
// Why        What an operator's dashboards and alarms read, without a library: the format is lines.
// Threads    the controller's thread.
// Units      seconds, packets; counters end with _total. Host time, also with the virtual GPU.
// Limits     everybody's programs are in it: the endpoint is for the operator (metrics_endpoint.h).
// See        tools/packaging/grafana/xsched-hsa.json, docs/metrics.md
#pragma once

#include <string>

#include "core.h"
#include "report.h"

namespace xsched_hsa {

std::string MetricsText(const Core& core, const ControllerInfo& info);

}  // namespace xsched_hsa
