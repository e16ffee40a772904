// queue_state.h: what the device keeps per queue and per dispatch, shared by its parts.
//
// Ownership  HwsDevice owns queues; Dispatcher owns dispatches and refers to their queue.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "bundle.h"

namespace virtual_gpu {

inline constexpr std::uint32_t kNone = UINT32_MAX;

// A workgroup that CWSR took off its CU, with the virtual time that it still needs.
struct SavedWorkgroup {
  double left_v = 0;
  std::uint32_t dispatch = 0;
  std::uint32_t cu = 0;  // where it ran; preferred when it comes back
  bool has_first = false;
};

struct Queue {
  QueueId id = 0;
  QueueConfig config;
  PacketSource* source = nullptr;

  // Command processor.
  std::uint32_t hqd = kNone;  // slot index; pipe = hqd % pipes
  bool mapped = false;
  bool has_packet = false, blocked = false;  // packet: read but not consumed; its dependencies fail
  Packet packet;
  std::uint32_t launching = kNone;  // dispatch whose last workgroup was not launched yet
  std::uint32_t outstanding = 0;    // consumed or launching, not complete

  // Workgroup dispatcher.
  CuMask mask;
  std::uint32_t xcc_start = 0;  // XCC x takes what is the (x + xcc_start)-th in turn
  std::array<std::uint8_t, kXccsMax> next_se{};
  std::array<std::vector<SavedWorkgroup>, kXccsMax> saved;
  std::uint64_t saved_count = 0, saved_waves = 0, saved_bytes = 0;
  std::uint32_t resident_workgroups = 0;

  std::uint64_t packets = 0, workgroups = 0;
  double cu_ns = 0;
};

struct Dispatch {
  Queue* queue = nullptr;  // null: free entry
  Packet packet;
  Footprint fp;
  double workgroup_ns = 1;
  ShapePlan plan;
  TimeNs start = 0;
  struct Share {                      // of one XCC
    std::uint64_t pool = 0;           // workgroups not yet given to a CU
    double per_cu = 0, per_slot = 0;  // see ShapeQuestion; set when streaming starts
    std::uint32_t rounds_held = 0;    // residents with more than one round, whose rounds may return
  };
  std::array<Share, kXccsMax> share;
  std::uint64_t pool = 0;
  std::uint64_t unreported = 0, done = 0;
  std::uint32_t rounds_held = 0;
  std::uint32_t pipe = kNone;          // streaming on it
  std::uint32_t first_xcc = 0;         // where workgroup 0 goes
  std::vector<std::uint32_t> done_on;  // with names_cu: the CU of each that is unreported
  bool first_placed = false, first_unreported = false, launched = false;
};

}  // namespace virtual_gpu
