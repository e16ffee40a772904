// session.h: the layer's connection to the controller and the pages it was given.
//
// Why        Connecting, checking and mapping live here; what the pages mean to queues is layer.h.
// Threads    one thread at a time: OnLoad first, the session thread after, which asks without a lock.
// Ownership  the address of a mapped page stays valid for the life of the process: a producer may
//            still look at it after a detach. The page itself is let go, and empty memory is in its
//            place (two pages of 4 KB a controller restart).
// Errors     every failure leaves the layer detached, that is, passing through; `why` says the reason.
// Limits     Connect waits at most kAnswerTimeoutMs for the controller's answer.
#pragma once

#include <cstdint>

#include "config.h"
#include "own_descriptor.h"
#include "queue-ctl/shared_page.h"
#include "queue-ctl/wire.h"

namespace xsched_hsa {

inline constexpr int kAnswerTimeoutMs = 250;

struct SessionLink {
  OwnDescriptor socket;
  OwnDescriptor event;  // eventfd: "look at my page"
  std::uint32_t id = 0;
  std::int32_t peer_pid = 0;  // of this process, as the controller sees it
  ProcessPage* process_page = nullptr;
  UserPage* user_page = nullptr;
  bool refused = false;  // a controller is there and does not want us: worth a word to the user
};

// What the runtime's table told about itself, for the controller's inventory.
struct RuntimeVersion {
  std::uint32_t table_major = 0;
  std::uint32_t ext_table_bytes = 0;
};

// Connects, says hello, maps the pages. False with a reason in `why` otherwise.
bool Connect(const Config& config, const RuntimeVersion& version, SessionLink* link, char* why,
             std::uint32_t why_bytes);

// Sleeps until the controller is gone, or the program has closed our socket. Messages are read and ignored (none is
// defined yet).
void WaitForHangup(const SessionLink& link);

// Closes the descriptors and lets go of the pages; what is in their place reads as "nothing ordered".
void Disconnect(SessionLink* link);

}  // namespace xsched_hsa
