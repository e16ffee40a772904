#include "requests.h"

#include "clock.h"
#include "trace.h"
#include "xsched_hsa.h"

namespace xsched_hsa {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
// Longer is as good as none, and a sum can't wrap.
constexpr std::uint64_t kDeadlineMaxUs = 3'600'000'000;

}  // namespace

void Requests::SetSession(ProcessPage* page) {
  MutexScope scope(&mutex_);
  page_ = page;
  if (page_ != nullptr) page_->requests.open.store(open_count_, kRelaxed);
}

int Requests::Begin(std::uint64_t deadline_us, std::uint64_t* request, std::uint64_t* earliest_us) {
  MutexScope scope(&mutex_);
  Open* free = nullptr;
  for (Open& open : open_) {
    if (open.request == 0) {
      free = &open;
      break;
    }
  }
  if (free == nullptr) {
    *earliest_us = EarliestLocked();
    return XSCHED_HSA_FULL;
  }
  free->request = ++last_request_;
  free->began_us = NowUs();
  const std::uint64_t bounded_us = deadline_us < kDeadlineMaxUs ? deadline_us : kDeadlineMaxUs;
  free->deadline_us = deadline_us == 0 ? 0 : free->began_us + bounded_us;
  ++open_count_;
  ++counts_.begun;
  if (page_ != nullptr) {
    page_->requests.begun.fetch_add(1, kRelaxed);
    page_->requests.open.store(open_count_, kRelaxed);
    TraceInto(&page_->trace, kTraceRequestBegin, 0, free->request, deadline_us);
  }
  *request = free->request;
  *earliest_us = EarliestLocked();
  return XSCHED_HSA_OK;
}

int Requests::End(std::uint64_t request, std::uint64_t* earliest_us) {
  MutexScope scope(&mutex_);
  int result = XSCHED_HSA_NOT_FOUND;
  for (Open& open : open_) {
    if (request == 0 || open.request != request) continue;
    const std::uint64_t now_us = NowUs();
    const bool late = open.deadline_us != 0 && now_us > open.deadline_us;
    --open_count_;
    ++counts_.ended;
    counts_.missed += late ? 1 : 0;
    if (page_ != nullptr) {
      page_->requests.ended.fetch_add(1, kRelaxed);
      page_->requests.missed.fetch_add(late ? 1 : 0, kRelaxed);
      page_->requests.open.store(open_count_, kRelaxed);
      page_->requests.marked.Add(now_us - open.began_us);
      TraceInto(&page_->trace, kTraceRequestEnd, 0, request, late ? 1 : 0);
    }
    open = Open{};
    result = XSCHED_HSA_OK;
    break;
  }
  *earliest_us = EarliestLocked();
  return result;
}

std::uint64_t Requests::EarliestLocked() const {
  std::uint64_t earliest_us = 0;
  for (const Open& open : open_) {
    if (open.request == 0 || open.deadline_us == 0) continue;
    if (earliest_us == 0 || open.deadline_us < earliest_us) earliest_us = open.deadline_us;
  }
  return earliest_us;
}

std::uint64_t Requests::EarliestDeadlineUs() {
  MutexScope scope(&mutex_);
  return EarliestLocked();
}

Requests::Counts Requests::counts() {
  MutexScope scope(&mutex_);
  return counts_;
}

}  // namespace xsched_hsa
