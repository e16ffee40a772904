// kfd_events_ioctls.cc: CREATE, DESTROY, SET, RESET and WAIT_EVENTS (rules in events.h).

#include <errno.h>

#include "kfd_abi.h"
#include "kfd_driver.h"

namespace virtual_gpu {

void KfdDriver::CreateEvent(const Request& request, Process& process) {
  auto args = request.Arg<kfd::CreateEventArgs>();
  if (!process.events.has_page() && args.event_page_offset != 0) {
    Allocation page;
    constexpr std::uint64_t kPage = std::uint64_t{EventTable::kEventsMax} * 8;
    if (!process.memory.Find(args.event_page_offset, &page) || page.arena == nullptr ||
        page.bytes < kPage) {
      return request.Reply(EINVAL);
    }
    process.events.SetPage(reinterpret_cast<std::uint64_t*>(page.arena->At(page.offset)));
  }
  const int error =
      process.events.Create(args.event_type, args.auto_reset != 0, args.node_id, &args.event_id);
  if (error != 0) return request.Reply(error);
  args.event_slot_index = args.event_id;
  args.event_trigger_data = args.event_id;
  // Never 0: the thunk gives a signal its mailbox only then (facts/feasibility.md, S1).
  if (args.event_page_offset == 0) args.event_page_offset = kPageBytes;
  request.ReplyWith(0, args);
}

void KfdDriver::DestroyEvent(const Request& request, Process& process) {
  request.Reply(process.events.Destroy(request.Arg<kfd::EventIdArgs>().event_id));
}

void KfdDriver::SetEvent(const Request& request, Process& process) {
  request.Reply(process.events.Set(request.Arg<kfd::EventIdArgs>().event_id));
}

void KfdDriver::ResetEvent(const Request& request, Process& process) {
  request.Reply(process.events.Reset(request.Arg<kfd::EventIdArgs>().event_id));
}

void KfdDriver::WaitEvents(const Request& request, Process& process) {
  constexpr std::uint32_t kForever = 0xffffffff;
  const auto args = request.Arg<kfd::WaitEventsArgs>();
  const EventTable::WaiterId waiter = process.events.Wait(request);
  if (waiter == 0 || args.timeout == kForever) return;
  // A connection waits for one thing at a time: what is left of its last wait goes.
  timers_->Cancel(request.connection->wait_timeout);
  request.connection->wait_timeout =
      timers_->Add(RawNs() + std::int64_t{args.timeout} * 1'000'000,
                   [shared = std::weak_ptr(request.connection->process), waiter] {
                     if (const auto alive = shared.lock()) alive->events.Expire(waiter);
                   });
}

}  // namespace virtual_gpu
