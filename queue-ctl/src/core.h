// core.h: the controller's state and everything it decides, without sockets or real time.
//
// Why        All rules live here, over plain memory and an injected clock, so that tests can race,
//            kill and lie at will. Descriptors and messages are in server.h.
// Threads    one thread calls everything. Layers write the pages from other processes meanwhile.
// Ownership  owns sessions and their history, not the pages. A page must live until EndSession (the
//            process page) or until the last session with that user page has ended.
// Units      _us: the injected clock's microseconds.
// Errors     operations for tools return a Status; events from layers can't fail: implausible
// values
//            are replaced, counted, and the first one is logged.
// Limits     kSessionsMax sessions, kEndedMax ended ones remembered.
// See        docs of the policies in policies/policy.h; queue-ctl/tests/core_test.cc
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "clock.h"
#include "policies/policy.h"
#include "session.h"
#include "status.h"

namespace xsched_hsa {

inline constexpr std::size_t kSessionsMax = 1024;
inline constexpr std::size_t kEndedMax = 256;

struct CoreCounters {
  std::uint64_t sessions_started = 0, queues_seen = 0;
  std::uint64_t layer_events = 0;      // times a layer asked for a look
  std::uint64_t decisions = 0;         // times the policy was asked
  std::uint64_t acknowledgements = 0;  // times a layer's raise was seen
  std::uint64_t lowerings = 0;
  std::uint64_t relays = 0;    // times the controller itself raised a word
  std::uint64_t renewals = 0;  // timer turns while something was leased
  std::uint64_t wakes = 0;
  std::uint64_t implausible_values = 0;
  std::uint64_t gpu_table_full = 0;
};

// Who asks. The administrator sees and changes everything.
struct Caller {
  std::uint32_t uid = 0;
  bool administrator = false;
};

// Which queues a tool means: all of a process (and those to come), or one.
struct Target {
  std::int32_t pid = 0;
  std::optional<std::uint32_t> serial;
};

class Waker {
 public:
  virtual ~Waker() = default;
  // Bumps page.wake and wakes the pump that sleeps on it.
  virtual void Wake(ProcessPage& page) = 0;
  // Wakes whoever can preempt mid-kernel: a GPU's urgency has changed.
  virtual void Ring(UserPage& page) = 0;
};

class FutexWaker final : public Waker {
 public:
  void Wake(ProcessPage& page) override;
  void Ring(UserPage& page) override;
};

class Core {
 public:
  struct Options {
    bool cross_user = false;  // users compete with each other
  };
  Core(const Options& options, const Clock* clock, std::unique_ptr<Policy> policy, Waker* waker);

  // Pages get their headers and initial words here, before a layer sees them.
  static void InitUserPage(UserPage* page, std::uint32_t uid);
  static void InitProcessPage(ProcessPage* page, std::uint32_t session_id);

  // 0 when kSessionsMax are there.
  std::uint32_t AddSession(const LayerInfo& layer, ProcessPage* page, UserPage* user_page);
  void EndSession(std::uint32_t id);
  void OnLayerEvent(std::uint32_t id);
  // To be called at NextDueUs(), which is empty while nothing is leased.
  void OnTimer();
  std::optional<std::uint64_t> NextDueUs() const { return renew_due_us_; }

  // `changed`: how many live queues it applies to now. An empty priority means "as requested".
  Status SetPriority(const Caller& caller, const Target& target, std::optional<int> priority,
                     int* changed);
  Status SetHold(const Caller& caller, const Target& target, bool hold, int* changed);

  // Asks a session's layer for fresh mirrors; IsRefreshed tells when it has answered.
  std::uint32_t AskRefresh(std::uint32_t id);
  bool IsRefreshed(std::uint32_t id, std::uint32_t ticket) const;

  // Opens every gate and gives every session up. The pages stay valid.
  void Shutdown();

  const std::map<std::uint32_t, std::unique_ptr<Session>>& sessions() const { return sessions_; }
  const std::deque<std::unique_ptr<Session>>& ended() const { return ended_; }  // oldest first
  const CoreCounters& counters() const { return counters_; }
  const Policy& policy() const { return *policy_; }
  const Clock& clock() const { return *clock_; }
  bool HasUser(std::uint32_t uid) const;

  // Who wants to know of levels and of sessions that are about to end, their pages still there.
  void SetLevelListener(
      std::function<void(const UserPage&, std::uint32_t, std::uint32_t)> listener) {
    level_listener_ = std::move(listener);
  }
  void SetEndListener(std::function<void(Session&)> listener) {
    end_listener_ = std::move(listener);
  }

 private:
  using GpuOfGroup = std::pair<GroupId, GpuKey>;

  GroupId GroupOf(const Session& session) const;
  bool ScanSession(Session& session);
  bool ScanSlot(Session& session, std::uint32_t index);
  bool Retire(Session& session, std::uint32_t index, bool by_layer);
  void NoteImplausible(Session& session, int count);

  // Policy -> pages. Returns with wakes_ filled; callers end with FlushWakes.
  void Decide();
  bool Refuse(Session& session, const QueueRecord& queue, QueueIntent* intent);
  void ApplyIntent(Session& session, std::uint32_t index, const QueueIntent& intent);
  void ApplyToOwners(const std::vector<Session*>& owners, const Target& target);

  void SettleGroup(GroupId group);
  void SettleAll();
  std::uint32_t LevelNow(GroupId group, GpuKey gpu) const;
  void WakeArmed(GroupId group, GpuKey gpu);
  bool RenewHolds();
  void UpdateTimer();
  void FlushWakes();
  // decide -> settle -> timer -> wakes, after the set of queues or an order has changed.
  void Reconsider();

  Status FindOwners(const Caller& caller, const Target& target, std::vector<Session*>* owners);

  std::function<void(const UserPage&, std::uint32_t, std::uint32_t)> level_listener_;
  std::function<void(Session&)> end_listener_;
  const Options options_;
  const Clock* const clock_;
  const std::unique_ptr<Policy> policy_;
  Waker* const waker_;
  std::map<std::uint32_t, std::unique_ptr<Session>> sessions_;
  std::deque<std::unique_ptr<Session>> ended_;
  std::uint32_t last_session_id_ = 0;
  std::set<std::uint32_t> wakes_;              // sessions
  std::map<UserPage*, std::uint32_t> leased_;  // user page -> bits of its GPUs with a level
  bool holds_leased_ = false;
  std::optional<std::uint64_t> renew_due_us_;
  CoreCounters counters_;
};

}  // namespace xsched_hsa
