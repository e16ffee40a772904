// top.h: `xsched-hsa-ctl top`: programs and queues, live on a terminal or printed N times.
//
// Errors     as commands.h. A controller that goes away while the screen is up is said on the
//            screen, and asked again at each interval.
#pragma once

#include <string>

namespace xsched_hsa {

struct TopOptions {
  int batch = 0;  // so many times as plain text; 0: the screen
  double interval_s = 1;
  std::string sort = "held";
  bool reverse = false, json = false;
};

int Top(const std::string& socket, const TopOptions& options);

}  // namespace xsched_hsa
