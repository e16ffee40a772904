// Queues of newer runtimes' calls, with a runtime that is made up: only ROCr 5.2.3 runs here.
#include <gtest/gtest.h>
#include <hsa/hsa_ext_amd.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "layer.h"
#include "log.h"
#include "queue_errors.h"

namespace xsched_hsa {
namespace {

constexpr std::uint32_t kPackets = 64;
std::vector<hsa_queue_t*> g_made;
int g_destroyed = 0;

hsa_queue_t* NewQueue(std::uint32_t type) {
  auto* queue = new hsa_queue_t{};
  queue->type = type;
  queue->size = kPackets;
  queue->base_address = std::aligned_alloc(64, kPackets * 64);
  queue->doorbell_signal.handle = reinterpret_cast<std::uint64_t>(queue) + 8;
  queue->id = g_made.size() + 1;
  g_made.push_back(queue);
  return queue;
}

class LayerQueuesTest : public testing::Test {
 protected:
  LayerQueuesTest() {
    setenv("XSCHED_HSA_SOCKET", "/nowhere", 1);
    RealApi* real = TheLayer().real();
    *real = RealApi{};
    real->agent_get_info = [](hsa_agent_t, hsa_agent_info_t info, void* value) {
      if (info == HSA_AGENT_INFO_DEVICE) {
        *static_cast<hsa_device_type_t*>(value) = HSA_DEVICE_TYPE_GPU;
      } else {
        *static_cast<std::uint32_t*>(value) = 0x300;
      }
      return HSA_STATUS_SUCCESS;
    };
    real->load_write_index_relaxed = real->load_write_index_scacquire =
        real->load_read_index_relaxed =
            real->load_read_index_scacquire = [](const hsa_queue_t*) -> std::uint64_t { return 0; };
    real->queue_destroy = [](hsa_queue_t*) { return ++g_destroyed, HSA_STATUS_SUCCESS; };
    real->amd_queue_create = [](hsa_agent_t, QueueDescriptor* descriptors, std::uint32_t count) {
      for (std::uint32_t i = 0; i < count; ++i)
        descriptors[i].queue = NewQueue(descriptors[i].type);
      return HSA_STATUS_SUCCESS;
    };
    real->counted_queue_acquire = [](hsa_agent_t, hsa_queue_type_t type, hsa_amd_queue_priority_t,
                                     void (*)(hsa_status_t, hsa_queue_t*, void*), void*,
                                     std::uint64_t, hsa_queue_t** queue) {
      *queue = NewQueue(type);
      return HSA_STATUS_SUCCESS;
    };
  }
  ~LayerQueuesTest() override {
    for (hsa_queue_t* queue : g_made) {
      if (TheLayer().registry()->Find(queue) != nullptr) TheLayer().DestroyQueue(queue);
      std::free(queue->base_address);
      delete queue;
    }
    g_made.clear();
  }
  static QueueDescriptor Compute() {
    QueueDescriptor descriptor{};
    descriptor.version = kDescriptorVersion;
    descriptor.ring_bytes = kPackets * 64;
    descriptor.priority = HSA_AMD_QUEUE_PRIORITY_NORMAL;
    return descriptor;
  }
  static const ManagedQueue* Managed(const QueueDescriptor& descriptor) {
    return TheLayer().registry()->Find(descriptor.queue);
  }
};

TEST_F(LayerQueuesTest, ManagesEachComputeQueueOfABatch) {
  QueueDescriptor batch[3] = {Compute(), Compute(), Compute()};
  batch[1].priority = HSA_AMD_QUEUE_PRIORITY_LOW;
  const std::uint32_t mask[1] = {0xff};
  batch[2].cu_mask = mask;
  batch[2].cu_mask_bits = 32;
  EXPECT_EQ(TheLayer().CreateQueues({1}, batch, 3), HSA_STATUS_SUCCESS);
  for (const QueueDescriptor& descriptor : batch) ASSERT_NE(Managed(descriptor), nullptr);
  // What the descriptor asks for must not be lost by a change of ours.
  EXPECT_EQ(Managed(batch[0])->restricted.kfd.priority, 7u);
  EXPECT_EQ(Managed(batch[1])->restricted.kfd.priority, 0u);
  EXPECT_EQ(Managed(batch[2])->restricted.user_mask_bits, 32u);
  EXPECT_EQ(Managed(batch[2])->restricted.user_mask[0], 0xffu);
  const int before = g_destroyed;
  TheLayer().DestroyQueue(batch[0].queue);
  EXPECT_EQ(Managed(batch[0]), nullptr);
  EXPECT_EQ(g_destroyed, before + 1);
}

TEST_F(LayerQueuesTest, LeavesWhatItCannotHoldAlone) {
  QueueDescriptor batch[4] = {Compute(), Compute(), Compute(), Compute()};
  batch[0].version = 2;
  batch[1].flags = 1;  // its ring is in device memory
  batch[2].engine = 1;
  batch[3].type = HSA_QUEUE_TYPE_COOPERATIVE;
  EXPECT_EQ(TheLayer().CreateQueues({1}, batch, 4), HSA_STATUS_SUCCESS);
  for (const QueueDescriptor& descriptor : batch) EXPECT_EQ(Managed(descriptor), nullptr);
}

TEST_F(LayerQueuesTest, GivesTheRuntimesRefusalBack) {
  TheLayer().real()->amd_queue_create = [](hsa_agent_t, QueueDescriptor*, std::uint32_t) {
    return HSA_STATUS_ERROR_INVALID_ARGUMENT;
  };
  QueueDescriptor one = Compute();
  EXPECT_EQ(TheLayer().CreateQueues({1}, &one, 1), HSA_STATUS_ERROR_INVALID_ARGUMENT);
  EXPECT_EQ(one.queue, nullptr);
}

// ROCr's status goes back; what ROCr has refused is not remembered, or a change of ours would bring it.
TEST_F(LayerQueuesTest, RemembersWhatTheProgramHasSetAndOnlyThat) {
  static hsa_status_t answer;
  RealApi* real = TheLayer().real();
  real->queue_set_priority = [](hsa_queue_t*, hsa_amd_queue_priority_t) { return answer; };
  real->queue_cu_set_mask = [](const hsa_queue_t*, std::uint32_t, const std::uint32_t*) {
    return answer;
  };
  QueueDescriptor one = Compute();
  ASSERT_EQ(TheLayer().CreateQueues({1}, &one, 1), HSA_STATUS_SUCCESS);
  const RestrictionState& state = Managed(one)->restricted;
  const std::uint32_t mask[1] = {0xf0};
  answer = HSA_STATUS_ERROR_INVALID_ARGUMENT;
  EXPECT_EQ(TheLayer().SetQueuePriority(one.queue, HSA_AMD_QUEUE_PRIORITY_LOW), answer);
  EXPECT_EQ(TheLayer().SetCuMask(one.queue, 32, mask), answer);
  EXPECT_EQ(state.kfd.priority, 7u);
  EXPECT_FALSE(state.program_set_priority);
  EXPECT_EQ(state.user_mask_bits, 0u);
  answer = HSA_STATUS_SUCCESS;
  EXPECT_EQ(TheLayer().SetQueuePriority(one.queue, HSA_AMD_QUEUE_PRIORITY_LOW), answer);
  EXPECT_EQ(state.kfd.priority, 0u);
  EXPECT_TRUE(state.program_set_priority);
  // ROCr has set fewer units than asked for, and says so: it has set them.
  answer = static_cast<hsa_status_t>(HSA_STATUS_CU_MASK_REDUCED);
  EXPECT_EQ(TheLayer().SetCuMask(one.queue, 32, mask), answer);
  EXPECT_EQ(state.user_mask_bits, 32u);
  EXPECT_EQ(state.user_mask[0], 0xf0u);
  answer = HSA_STATUS_SUCCESS;
  EXPECT_EQ(TheLayer().SetCuMask(one.queue, 0, nullptr), answer);
  EXPECT_EQ(state.user_mask_bits, 0u) << "all units again";
}

// ROCr stops a queue and calls back; the program hears of it as if we were not there.
TEST_F(LayerQueuesTest, AQueueThatTheRuntimeHasStoppedIsLeftAlone) {
  static QueueCallback given;
  static void* given_data;
  static int heard;
  RealApi* real = TheLayer().real();
  real->queue_create = [](hsa_agent_t, std::uint32_t, hsa_queue_type32_t type,
                          QueueCallback callback, void* data, std::uint32_t, std::uint32_t,
                          hsa_queue_t** queue) {
    given = callback;
    given_data = data;
    *queue = NewQueue(type);
    return HSA_STATUS_SUCCESS;
  };
  const QueueCallback own = [](hsa_status_t status, hsa_queue_t* queue, void* data) {
    EXPECT_EQ(status, HSA_STATUS_ERROR_INVALID_PACKET_FORMAT);
    EXPECT_EQ(queue, g_made.back());
    EXPECT_EQ(data, &heard);
    ++heard;
  };
  for (const bool has_own : {true, false}) {
    hsa_queue_t* queue = nullptr;
    ASSERT_EQ(TheLayer().CreateQueue({1}, kPackets, HSA_QUEUE_TYPE_MULTI, has_own ? own : nullptr,
                                     has_own ? &heard : nullptr, 0, 0, &queue),
              HSA_STATUS_SUCCESS);
    const ManagedQueue* managed = TheLayer().registry()->Find(queue);
    ASSERT_NE(managed, nullptr);
    EXPECT_EQ(managed->failed, 0u);
    ASSERT_NE(given, nullptr);
    testing::internal::CaptureStderr();
    given(HSA_STATUS_ERROR_INVALID_PACKET_FORMAT, queue, given_data);
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("stopped it after an error"), std::string::npos) << said;
    EXPECT_EQ(managed->failed, 1u);
    EXPECT_EQ(managed->slot.load()->state, kSlotForeign) << "the controller counts it no more";
    EXPECT_EQ(heard, 1);
    EXPECT_EQ(TheLayer().DestroyQueue(queue), HSA_STATUS_SUCCESS);
  }
  // As many as one likes, one after the other: places are given back.
  for (std::uint32_t i = 0; i < 2 * kQueuesMax; ++i) {
    hsa_queue_t* queue = nullptr;
    TheLayer().CreateQueue({1}, kPackets, HSA_QUEUE_TYPE_MULTI, own, &heard, 0, 0, &queue);
    ASSERT_NE(given, own) << i;
    TheLayer().DestroyQueue(queue);
  }
}

// One line for all that find no room, and room again where one of the others goes.
TEST_F(LayerQueuesTest, MoreQueuesThanThereIsRoomForPassThroughAndAreSaidOnce) {
  std::vector<QueueDescriptor> many(kQueuesMax + 3, Compute());
  testing::internal::CaptureStderr();
  for (QueueDescriptor& one : many) {
    ASSERT_EQ(TheLayer().CreateQueues({1}, &one, 1), HSA_STATUS_SUCCESS);
  }
  const std::string said = testing::internal::GetCapturedStderr();
  // One or the other may find no place among the registry's keys.
  const auto managed = std::count_if(
      many.begin(), many.end(), [](const QueueDescriptor& one) { return Managed(one) != nullptr; });
  EXPECT_LE(managed, std::ptrdiff_t{kQueuesMax});
  EXPECT_GE(managed, std::ptrdiff_t{kQueuesMax} - 3);
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  EXPECT_NE(said.find("as many queues as there is room for are managed"), std::string::npos)
      << said;
  TheLayer().DestroyQueue(many[0].queue);
  QueueDescriptor next = Compute();
  ASSERT_EQ(TheLayer().CreateQueues({1}, &next, 1), HSA_STATUS_SUCCESS);
  EXPECT_NE(Managed(next), nullptr);
}

TEST_F(LayerQueuesTest, CountedQueuesPassThrough) {
  hsa_queue_t* queue = nullptr;
  EXPECT_EQ(TheLayer().AcquireCounted({1}, HSA_QUEUE_TYPE_MULTI, HSA_AMD_QUEUE_PRIORITY_NORMAL,
                                      nullptr, nullptr, 0, &queue),
            HSA_STATUS_SUCCESS);
  EXPECT_EQ(TheLayer().registry()->Find(queue), nullptr);
}

}  // namespace
}  // namespace xsched_hsa
