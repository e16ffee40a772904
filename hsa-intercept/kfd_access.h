// kfd_access.h: what the layer asks of the kernel driver itself: queue ids, suspend, masks.
//
// Why        KFD lets a process change only its own queues, and no HSA call suspends one. ROCr does
//            not tell a queue's KFD id either, so it is learnt from the driver's list of the
//            process's queues, read before and after a creation.
// Threads    QueueIdProbe: the caller serialises creations. Everything else: any thread, not at
//            once on one queue.
// Ownership  one descriptor of /dev/kfd, opened at first need and kept; a fork child must not use
//            it (KFD refuses it there).
// Errors     errno values as the driver gives them; kUnknownKfdQueueId when an id is not certain.
//            An update names ring, size and priority anew: all have to be the true ones.
// Source     amdkfd: kfd_ioctl.h (UPDATE_QUEUE, SET_CU_MASK), kfd_process.c (kfd_procfs_add_queue),
//            kfd_topology.c (node_show).
// See        kfd_access_test.cc, docs/decisions.md
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>

#include "kfd_debug_session.h"
#include "own_descriptor.h"
#include "queue-ctl/shared_page.h"

struct hsa_queue_s;

namespace xsched_hsa {

inline constexpr std::uint32_t kKfdQueueIdsMax = 1024;  // KFD_MAX_NUM_OF_QUEUES_PER_PROCESS
inline constexpr std::uint32_t kCuMaskWordsMax = 32;    // KFD cuts at 1024 bits

// A GPU as the driver's topology shows it.
struct KfdNode {
  std::uint32_t gpu_id = 0;
  std::uint32_t compute_units = 0;
  // Shader arrays over all XCCs. A mask's first n x shader_arrays bits are n compute units in each:
  // the driver deals bits out to XCCs, then shader engines, in turn
  // (mqd_symmetrically_map_cu_mask). 0: no mask is to be set, as on gfx10 and later, where it has to
  // take both units of a pair and the driver deals out pairs.
  std::uint32_t shader_arrays = 0;
};

// False if the driver does not list it. `root`: "" but in tests.
bool FindKfdNode(const char* root, GpuKey key, KfdNode* node);

// Destructions of this process's queues. An id that becomes free is given to the next queue: it then looks
// like one that was there before, and somebody else's new queue like ours.
class QueueDestructions {
 public:
  static constexpr std::uint64_t kUnderWay = ~std::uint64_t{0};
  void Begin() { begun_.fetch_add(1, std::memory_order_seq_cst); }
  void End() { ended_.fetch_add(1, std::memory_order_seq_cst); }
  // How many there were, or kUnderWay.
  std::uint64_t Count() const {
    const std::uint64_t ended = ended_.load(std::memory_order_seq_cst);
    return begun_.load(std::memory_order_seq_cst) == ended ? ended : kUnderWay;
  }

 private:
  std::atomic<std::uint64_t> begun_{0}, ended_{0};
};

// The ids of a process's queues, before and after a creation.
class QueueIdProbe {
 public:
  // `pid`: as the driver counts, in the outermost PID namespace. Where a queue was destroyed meanwhile, no id
  // is certain.
  constexpr QueueIdProbe(const char* root, std::int32_t pid,
                         const QueueDestructions* destructions = nullptr)
      : root_(root), pid_(pid), destructions_(destructions) {}
  // False: the driver shows no such list here.
  bool TakeBefore();
  // The one compute queue of this ring size on this GPU that was not there before.
  std::uint32_t FindNew(const KfdNode& node, std::uint64_t ring_bytes) const;

 private:
  bool IsNewQueue(std::uint32_t id, const KfdNode& node, std::uint64_t ring_bytes) const;

  std::uint64_t Destroyed() const { return destructions_ != nullptr ? destructions_->Count() : 0; }

  const char* root_;
  std::int32_t pid_;
  const QueueDestructions* destructions_;
  std::uint64_t destroyed_before_ = 0;
  std::uint64_t before_[kKfdQueueIdsMax / 64] = {};
};

struct KfdQueue {
  std::uint32_t id = kUnknownKfdQueueId;
  std::uint64_t ring_base = 0;
  std::uint32_t ring_bytes = 0;
  std::uint32_t priority = kPriorityNormal;  // as last set by anybody
  hsa_queue_s* runtime_queue = nullptr;      // not null: only ROCr knows the ring (queue_driver.h)
};

// 0, or errno. Each is a preemption of every queue on the device, whatever it changes, and returns
// when all are off the hardware. Injected, so that the simulation can be the driver.
class KfdCalls {
 public:
  // Not pure: that would need the C++ runtime library.
  virtual int Update(const KfdQueue&, std::uint32_t) { return ENOSYS; }
  virtual int SetMask(const KfdQueue&, const std::uint32_t*, std::uint32_t) { return ENOSYS; }
  // Several queues of this process in one cycle, all or none. They stay off whatever Update says.
  virtual bool CanBatch() { return false; }
  virtual int SuspendBatch(const std::uint32_t*, std::uint32_t) { return ENOSYS; }
  virtual int ResumeBatch(const std::uint32_t*, std::uint32_t) { return ENOSYS; }

 protected:
  ~KfdCalls() = default;
};

// The call was not the driver's to refuse, or was of a queue that it does not know: nothing has been done.
constexpr bool IsWithoutEffect(int error) {
  return error == EPERM || error == EACCES || error == ENOSYS || error == ENOTTY ||
         error == EBADF || error == ENOENT || error == EFAULT;
}

class KfdAccess final : public KfdCalls {
 public:
  constexpr KfdAccess() = default;

  int Update(const KfdQueue& queue, std::uint32_t percentage) override;
  int SetMask(const KfdQueue& queue, const std::uint32_t* mask, std::uint32_t bits) override;
  bool CanBatch() override { return debug_.on(); }
  int SuspendBatch(const std::uint32_t* ids, std::uint32_t count) override;
  int ResumeBatch(const std::uint32_t* ids, std::uint32_t count) override;
  // From OnLoad, on the operator's wish only (kfd_debug_session.h).
  int BeginDebugSession();
  void AfterForkInChild();
  // Early, while the program still has the rights and the descriptors that the runtime just needed.
  int Open();

 private:
  // Opened again where the program has closed it, so that what is suspended can be resumed.
  int Descriptor(int* fd);

  OwnDescriptor fd_;
  KfdDebugSession debug_;
};

}  // namespace xsched_hsa
