// no_waker.h: wakes nobody; in a fuzz target there is nobody to wake.
#pragma once

#include "core.h"

class NoWaker final : public xsched_hsa::Waker {
 public:
  void Wake(xsched_hsa::ProcessPage&) override {}
  void Ring(xsched_hsa::UserPage&) override {}
};
