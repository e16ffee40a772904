#include "sim_clock.h"

#include <new>

namespace virtual_gpu {
namespace {
constexpr std::int64_t kFirstGrantMinNs = 1'000'000;
}

SimClock::SimClock(double scale) : scale_(scale) {
  own_.scale = scale;
  own_.start_raw_ns = RawNs();
  grants_.fill(kNoLimitNs);
}

SimClock::~SimClock() {
  if (page_ != &own_) munmap(page_, sizeof(ClockPage));
}

bool SimClock::Publish(const std::string& path) {
  // A new file: a reader may still have the one of a killed device process.
  unlink(path.c_str());
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  void* at = MAP_FAILED;
  if (ftruncate(fd, sizeof(ClockPage)) == 0) {
    at = mmap(nullptr, sizeof(ClockPage), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  }
  close(fd);
  if (at == MAP_FAILED) return false;
  auto* page = new (at) ClockPage;
  page->scale = scale_;
  page->start_raw_ns = own_.start_raw_ns.load();
  page_ = page;
  return true;
}

void SimClock::Grant(std::uint32_t gpu, std::int64_t host_ns) {
  std::lock_guard lock(mutex_);
  Limit(gpu, ClockPageNow(*page_) + host_ns);
}

void SimClock::GrantForEver(std::uint32_t gpu) {
  std::lock_guard lock(mutex_);
  Limit(gpu, kNoLimitNs);
}

// Under the lock. The new start makes up for the time that the clock has stood, so that it goes on
// from its limit; only then is the limit moved.
void SimClock::Limit(std::uint32_t gpu, std::int64_t until_ns) {
  grants_[gpu] = until_ns;
  const std::int64_t before_ns = page_->limit_ns.load(std::memory_order_relaxed);
  const std::int64_t start_ns = page_->start_raw_ns.load(std::memory_order_relaxed);
  std::int64_t now_ns = RawNs() - start_ns;
  if (now_ns > before_ns) {
    const std::int64_t stood_ns = now_ns - before_ns;
    page_->stood_ns.fetch_add(stood_ns, std::memory_order_relaxed);
    page_->stops.fetch_add(1, std::memory_order_relaxed);
    page_->start_raw_ns.store(start_ns + stood_ns, std::memory_order_release);
    now_ns = before_ns;
  }
  const std::int64_t least_ns = *std::min_element(grants_.begin(), grants_.end());
  // A limit is never taken back, or a reader that went by the old one would see time go back. Only the
  // first queue on an idle device ends the time without limit, with room for whoever reads meanwhile.
  const std::int64_t lowest_ns = before_ns == kNoLimitNs ? now_ns + kFirstGrantMinNs : before_ns;
  page_->limit_ns.store(std::max(least_ns, lowest_ns), std::memory_order_release);
}

}  // namespace virtual_gpu
