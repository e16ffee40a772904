// Containers and hardware slots, from texts as kernels and runtimes write them.
#include <gtest/gtest.h>

#include <cstdio>
#include <map>

#include "container.h"
#include "hqd_dump.h"

namespace xsched_hsa {
namespace {

const std::string kId(64, 'a');

TEST(ContainerTest, EveryRuntimesPathGivesItsId) {
  struct Case {
    std::string cgroup, runtime, pod;
  };
  const Case cases[] = {
      {"0::/system.slice/docker-" + kId + ".scope\n", "docker", ""},
      {"12:memory:/docker/" + kId + "\n11:cpu:/\n", "docker", ""},
      {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
       "0a1b2c3d_0a1b_0a1b_0a1b_0a1b2c3d4e5f.slice/cri-containerd-" +
           kId + ".scope\n",
       "containerd", "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"},
      {"0::/kubepods/besteffort/pod0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f/crio-" + kId + "\n", "crio",
       "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"},
      {"0::/machine.slice/libpod-" + kId + ".scope/container\n", "podman", ""}};
  for (const Case& one : cases) {
    const Container container = ParseCgroup(one.cgroup);
    EXPECT_EQ(container.id, kId) << one.cgroup;
    EXPECT_EQ(container.runtime, one.runtime) << one.cgroup;
    EXPECT_EQ(container.pod, one.pod) << one.cgroup;
  }
}

TEST(ContainerTest, OrdinaryProcessesHaveNone) {
  for (const std::string text : {"0::/user.slice/user-1000.slice/session-2.scope\n", "0::/\n", "",
                                 "garbage", "0::/system.slice/podium.service\n"}) {
    const Container container = ParseCgroup(text);
    EXPECT_EQ(container.id + container.pod + container.runtime, "") << text;
  }
}

// One MQD or HQD as the driver prints it, with the words that matter.
std::string Words(std::size_t count, const std::map<std::size_t, std::uint32_t>& set) {
  std::string text;
  char number[24];
  for (std::size_t i = 0; i < count; ++i) {
    if (i % 8 == 0) {
      std::snprintf(number, sizeof number, "%s    %08zx:", i == 0 ? "" : "\n", i * 4);
      text += number;
    }
    const auto it = set.find(i);
    std::snprintf(number, sizeof number, " %08x", it != set.end() ? it->second : 0);
    text += number;
  }
  return text + "\n";
}

class HqdDumpTest : public ::testing::Test {
 protected:
  static std::map<std::size_t, std::uint32_t> Registers(std::size_t at, std::uint32_t ring,
                                                        std::uint32_t doorbell) {
    return {{at + 2, 1},
            {at + 3, 0x303},
            {at + 5, 1},
            {at + 6, 7},
            {at + 8, ring},
            {at + 9, 0x7f},
            {at + 15, 0x40000000 | doorbell}};
  }
  static std::string MqdText(std::uint32_t ring, std::uint32_t doorbell) {
    auto words = Registers(128, ring, doorbell);
    words[23] = 0xff;
    return "  Compute queue on device f7bc\n" + Words(512, words);
  }
  static std::string HqdText(const std::string& place, std::uint32_t ring, std::uint32_t doorbell) {
    return " Inst " + place + "\n" + Words(56, Registers(0, ring, doorbell));
  }
  const std::string mqds_ = "Process 100 PASID 32769:\n" + MqdText(0x1000, 0x1000) +
                            "  SDMA queue on device f7bc\n" + Words(128, {}) +
                            MqdText(0x2000, 0x1008) + "Process 200 PASID 32770:\n" +
                            MqdText(0x1000, 0x2000);
  const std::string hqds_ =
      "Node 2, gpu_id f7bc:\n   Inst 0, HIQ on MEC 2 Pipe 0 Queue 0\n" +
      Words(56, Registers(0, 0x1000, 0x1000)) + HqdText("0,  CP Pipe 1, Queue 2", 0x1000, 0x1000) +
      HqdText("0,  CP Pipe 2, Queue 2", 0x1000, 0x2000) + " Inst 0,  CP Pipe 3, Queue 2\n" +
      Words(56, {}) + HqdText("1,  CP Pipe 1, Queue 3", 0x1000, 0x1000) + "Node 3, gpu_id 1234:\n" +
      HqdText("0,  CP Pipe 0, Queue 2", 0x1000, 0x1000);
};

TEST_F(HqdDumpTest, MqdsAreOfTheProcessAndOfComputeQueuesOnly) {
  const auto found = MqdsOfProcess(mqds_, 100);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].ring_base, 0x7f00001000ull << 8);
  EXPECT_EQ(found[0].queue_priority, 7u);
  EXPECT_EQ(found[0].pipe_priority, 1u);
  EXPECT_EQ(found[0].se_masks.front(), 0xffu);
  EXPECT_EQ(found[0].gpu_id, 0xf7bcu);
  EXPECT_TRUE(MqdsOfProcess(mqds_, 7).empty());
  EXPECT_TRUE(MqdsOfProcess("", 100).empty());
  EXPECT_TRUE(
      MqdsOfProcess("Process 100 PASID 1:\n  Compute queue on device 1\n    00000000: 12", 100)
          .empty());
}

TEST_F(HqdDumpTest, SlotsAreFoundOnEveryXccByTheDoorbell) {
  // Another process's ring has the same address: the doorbell tells them apart.
  const auto slots = FindSlots(hqds_, MqdsOfProcess(mqds_, 100)[0]);
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].xcc, 0u);
  EXPECT_EQ(slots[0].pipe, 1u);
  EXPECT_EQ(slots[0].queue, 2u);
  EXPECT_EQ(slots[0].vmid, 3u);
  EXPECT_EQ(slots[1].xcc, 1u);
  EXPECT_EQ(slots[1].queue, 3u);
  EXPECT_TRUE(FindSlots(hqds_, MqdsOfProcess(mqds_, 100)[1]).empty()) << "it is in no slot";
}

}  // namespace
}  // namespace xsched_hsa
