// cost-probe: runs each hot path a fixed number of times, for callgrind to count (tests/cost/check).
#include "measured.h"

int main() {
  xsched_hsa::cost::MeasurePacketPath();
  xsched_hsa::cost::MeasureController();
  return 0;
}
