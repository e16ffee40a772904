// core.h: the controller's state and everything it decides, without sockets or real time.
//
// Why        All rules live here, over plain memory and an injected clock, so that tests can race,
//            kill and lie at will. Descriptors and messages are in server.h.
// Threads    one thread calls everything. Layers write the pages from other processes meanwhile.
// Ownership  owns sessions and their history, not the pages. A page must live until EndSession (the
//            process page) or until the last session with that user page has ended.
// Units      _us: the injected clock's microseconds.
// Errors     operations for tools return a Status; events from layers can't fail: implausible
//            values are replaced, counted, and the first one is logged.
// Limits     kSessionsMax sessions, of which no user but root has more than half of what the others
//            leave; kQueuesPerUserMax queues a user (further ones run freely and are counted);
//            kEndedMax ended sessions remembered.
// See        docs of the policies in policies/policy.h; queue-ctl/tests/core_test.cc
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clock.h"
#include "policies/registry.h"
#include "session.h"
#include "status.h"

namespace xsched_hsa {

inline constexpr std::size_t kSessionsMax = kSessionBits;
inline constexpr std::size_t kEndedMax = 256;
inline constexpr std::size_t kQueuesPerUserMax = 4096;

struct CoreCounters {
  std::uint64_t sessions_started = 0, queues_seen = 0;
  std::uint64_t layer_events = 0;      // times a layer asked for a look
  std::uint64_t decisions = 0;         // times the policy was asked
  std::uint64_t unusable_answers = 0;  // of these: it did not answer for the queues that there are
  std::uint64_t acknowledgements = 0;  // times a layer's raise was seen
  std::uint64_t lowerings = 0;
  std::uint64_t relays = 0;    // times the controller itself raised a word
  std::uint64_t renewals = 0;  // timer turns while something was leased
  std::uint64_t wakes = 0;
  std::uint64_t implausible_values = 0;
  std::uint64_t gpu_table_full = 0;
  std::uint64_t queues_over_limit = 0;  // looks at a queue that is one too many of its user's
};

// By name, for whoever shows them.
std::vector<std::pair<const char*, std::uint64_t>> Named(const CoreCounters& counters);

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

// Told of what happens, on the controller's thread; must not call back.
class Observer {
 public:
  virtual ~Observer() = default;
  virtual void OnSession(const Session& /*session*/, bool /*up*/) {}
  virtual void OnRule(const Session& /*session*/) {}
  virtual void OnQueue(const Session& /*session*/, const QueueRecord& /*queue*/, bool /*made*/) {}
  // False: nobody needs OnPreemption, which looks at every queue of the GPU.
  virtual bool WantsPreemptions() const { return true; }
  // Urgent work on a GPU is done; `held`: queues with work that had to wait at its end. `uid`: whose
  // all of it was; empty where users compete.
  virtual void OnPreemption(std::optional<std::uint32_t> /*uid*/, GpuKey /*gpu*/,
                            std::uint32_t /*level*/, std::uint64_t /*lasted_us*/,
                            std::uint32_t /*held*/) {}
};

struct PolicySetting {
  std::string name = "strict-priority";
  PolicyParams params;
};

struct DeviceShape {
  std::uint32_t compute_units = 0;
  std::uint32_t unit_step = 0;  // shader arrays
};

class Core {
 public:
  struct Options {
    // Users compete with each other. Then classes are the administrator's to give: nobody else changes them, and
    // a program asks for normal priority at most.
    bool cross_user = false;
    std::uint32_t administrator = 0;  // besides root
  };
  Core(const Options& options, const Clock* clock, std::unique_ptr<Policy> policy, Waker* waker);

  // Pages get their headers and initial words here, before a layer sees them.
  static void InitUserPage(UserPage* page, std::uint32_t uid);
  static void InitProcessPage(ProcessPage* page, std::uint32_t session_id, std::uint32_t bit);

  // 0 when kSessionsMax are there, or the user has its part of them.
  std::uint32_t AddSession(const LayerInfo& layer, ProcessPage* page, UserPage* user_page);
  // What the rules make of it; also later, after a reload.
  void Classify(std::uint32_t id, const ProgramFacts& facts, const std::string& rule,
                const ProgramClass& rule_class);
  void EndSession(std::uint32_t id);
  void OnLayerEvent(std::uint32_t id);
  // To be called at NextDueUs(), which is empty while nothing is leased and no policy wants to be asked.
  void OnTimer();
  std::optional<std::uint64_t> NextDueUs() const;

  // From the next decision on, which comes at once. The names must exist.
  void SetPolicies(const PolicySetting& for_all, const std::map<GpuKey, PolicySetting>& for_gpus);
  void SetPolicy(std::optional<GpuKey> gpu, const PolicySetting& setting);
  const PolicySetting& PolicyOf(GpuKey gpu) const;
  const PolicySetting& default_policy() const { return default_policy_.setting; }
  std::map<GpuKey, PolicySetting> gpu_policies() const;
  void SetCrossUser(bool cross_user);
  void SetDeviceShape(GpuKey gpu, const DeviceShape& shape) { shapes_[gpu] = shape; }
  void SetObserver(Observer* observer) { observer_ = observer; }

  // `changed`: how many live queues it applies to now. An empty priority means "as requested".
  Status SetPriority(const Caller& caller, const Target& target, std::optional<int> priority,
                     int* changed);
  // kHoldNone ends a hold and a suspension.
  Status SetHold(const Caller& caller, const Target& target, HoldOrder order, int* changed);
  // Keeps queues on so many compute units, rounded down to the same number on each shader array; 0:
  // as the policy says. *kept: what that came to, of the last queue.
  Status SetUnits(const Caller& caller, const Target& target, std::uint32_t units, int* changed,
                  std::uint32_t* kept);
  // Changes what an operator has ordered of a program's class.
  Status SetClass(const Caller& caller, std::int32_t pid,
                  const std::function<void(ProgramClass*)>& change, int* changed);

  // Asks a session's layer for fresh mirrors; IsRefreshed tells when it has answered.
  std::uint32_t AskRefresh(std::uint32_t id);
  bool IsRefreshed(std::uint32_t id, std::uint32_t ticket) const;

  // Opens every gate and gives every session up. The pages stay valid.
  void Shutdown();

  const std::map<std::uint32_t, std::unique_ptr<Session>>& sessions() const { return sessions_; }
  const std::deque<std::unique_ptr<Session>>& ended() const { return ended_; }  // oldest first
  const CoreCounters& counters() const { return counters_; }
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
  struct PolicyEntry {
    PolicySetting setting;
    std::shared_ptr<const Policy> policy;
    std::uint64_t unusable_answers = 0;
  };
  struct Member {
    Session* session;
    std::uint32_t index;
    QueueRecord* queue;
  };
  // The queues that compete with each other.
  struct Arena {
    std::vector<Member> members;       // by session, then slot
    std::vector<std::size_t> raisers;  // of members
    std::vector<QueueView> views;
    Answer answer;
    std::uint64_t asked_us = 0;
    std::uint32_t level = 0, peak_level = 0;
    std::uint64_t urgent_since_us = 0;
    bool reports = false;
  };

  GroupId GroupOf(const Session& session) const;
  int RequestMaxOf(const Session& session) const;
  Status MayClassify(const Caller& caller) const;
  void RebuildGroups();
  bool ScanSession(Session& session);
  bool ScanSlot(Session& session, std::uint32_t index);
  std::size_t QueuesOf(std::uint32_t uid) const;
  bool Retire(Session& session, std::uint32_t index, bool by_layer);
  void NoteImplausible(Session& session, int count);
  void Touch(const Session& session, const QueueRecord& queue);
  void Touch(const Session& session);

  // core_arena.cc: pages -> policy -> intents. wakes_ is filled; callers end with FlushWakes.
  void RebuildArena(const GpuOfGroup& key);
  void Decide(const GpuOfGroup& key, Arena* arena);
  void CheckAnswer(PolicyEntry* entry, Arena* arena);
  void FillView(const Member& member, const ProgramClass& own, std::uint64_t now_us,
                QueueView* view);
  void RestartLatency(Arena* arena);
  bool NoteActivity(Session& session, std::uint64_t now_us);
  void NoteActivity(Session& session, std::uint32_t index, QueueRecord* queue,
                    std::uint64_t now_us);
  void DropMemory(std::optional<GpuKey> gpu);
  // Decides where something was touched -> settle -> timer -> wakes.
  void Reconsider();

  // core_apply.cc
  bool Refuse(Session& session, const QueueRecord& queue, const QueueIntent& intent);
  void ApplyIntent(Session& session, std::uint32_t index, QueueRecord* queue,
                   const QueueIntent& intent);
  void SettleGroup(GroupId group);
  void SettleAll();
  std::uint32_t LevelNow(const Arena& arena) const;
  void NoteLevel(const GpuOfGroup& key, Arena* arena, std::uint32_t level);
  void WakeClosed(const UserPage& page, GpuUrgency* gpu);
  bool RenewOrders();
  void UpdateTimer();
  void FlushWakes();

  Status FindOwners(const Caller& caller, const Target& target, std::vector<Session*>* owners);
  Status UnitsFor(const Session& session, std::uint32_t index, const QueueRecord& queue,
                  std::uint32_t* units) const;

  std::function<void(const UserPage&, std::uint32_t, std::uint32_t)> level_listener_;
  std::function<void(Session&)> end_listener_;
  Options options_;
  const Clock* const clock_;
  PolicyEntry default_policy_;
  std::map<GpuKey, PolicyEntry> gpu_policies_;
  std::map<GpuKey, DeviceShape> shapes_;
  Waker* const waker_;
  Observer* observer_ = nullptr;
  std::map<std::uint32_t, std::unique_ptr<Session>> sessions_;
  std::deque<std::unique_ptr<Session>> ended_;
  std::map<GroupId, std::set<UserPage*>> groups_;  // of the sessions that there are
  std::map<GpuOfGroup, Arena> arenas_;
  std::set<GpuOfGroup> touched_;
  std::uint32_t last_session_id_ = 0;
  std::array<std::uint32_t, kSessionBits> session_of_bit_{};  // 0: free
  std::set<std::uint32_t> wakes_;                             // sessions
  std::map<UserPage*, std::uint32_t> leased_;  // user page -> bits of its GPUs with a level
  bool orders_leased_ = false;                 // holds and standing masks
  std::optional<std::uint64_t> renew_due_us_;
  CoreCounters counters_;
};

}  // namespace xsched_hsa
