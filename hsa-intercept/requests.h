// requests.h: the requests that a program marks (xsched_hsa.h): counted, timed, their deadlines known.
//
// Why        What a program's queues don't show: where one request begins and ends.
// Threads    any thread of the program. A lock of its own, held for some tens of nanoseconds; never on
//            the packet path. Lock order: Layer's registration mutex before it.
// Ownership  the page is the session's; without one, requests are only remembered.
// Units      _us: CLOCK_MONOTONIC microseconds.
// Errors     one of xsched_hsa.h's results.
// Limits     kOpenRequestsMax open at once.
#pragma once

#include <cstdint>

#include "mutex.h"
#include "queue-ctl/shared_page.h"

namespace xsched_hsa {

inline constexpr std::uint32_t kOpenRequestsMax = 256;

class Requests {
 public:
  // The session's page, or null.
  void SetSession(ProcessPage* page);

  // `deadline_us` from now, 0: none. *earliest_us: the earliest deadline that is open now, 0: none.
  int Begin(std::uint64_t deadline_us, std::uint64_t* request, std::uint64_t* earliest_us);
  int End(std::uint64_t request, std::uint64_t* earliest_us);
  std::uint64_t EarliestDeadlineUs();

  struct Counts {
    std::uint64_t begun = 0, ended = 0, missed = 0;
  };
  Counts counts();

 private:
  struct Open {
    std::uint64_t request = 0;  // 0: free
    std::uint64_t began_us = 0;
    std::uint64_t deadline_us = 0;  // absolute; 0: none
  };
  std::uint64_t EarliestLocked() const;

  Mutex mutex_{};
  Open open_[kOpenRequestsMax]{};
  std::uint32_t open_count_ = 0;
  std::uint64_t last_request_ = 0;
  Counts counts_{};
  ProcessPage* page_ = nullptr;
};

}  // namespace xsched_hsa
