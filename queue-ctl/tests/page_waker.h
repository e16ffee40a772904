// page_waker.h: what FutexWaker does to a page, with nobody to wake.
#pragma once

#include "core.h"

namespace xsched_hsa::testing {

class PageWaker final : public Waker {
 public:
  void Wake(ProcessPage& page) override { page.wake.fetch_add(1); }
  void Ring(UserPage& page) override { page.bell.fetch_add(1); }
};

}  // namespace xsched_hsa::testing
