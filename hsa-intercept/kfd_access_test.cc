#include "kfd_access.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>

namespace xsched_hsa {
namespace {

// A tree like the driver's, as plain files.
class KfdTreeTest : public testing::Test {
 protected:
  KfdTreeTest() {
    char name[] = "/tmp/kfd_tree_XXXXXX";
    root_ = mkdtemp(name);
    AddNode("0", 0, "cpu_cores_count 8\nsimd_count 0\n");
    AddNode("1", 4660,
            "simd_count 320\nsimd_per_cu 4\narray_count 16\nlocation_id 768\ndomain 0\n");
    AddNode("2", 22136,
            "simd_count 1216\nsimd_per_cu 4\narray_count 32\nlocation_id 768\ndomain 1\n");
  }
  ~KfdTreeTest() override { std::filesystem::remove_all(root_); }

  void AddNode(const std::string& name, int gpu_id, const std::string& properties) {
    const std::string folder = root_ + "/sys/devices/virtual/kfd/kfd/topology/nodes/" + name;
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/gpu_id") << gpu_id << "\n";
    std::ofstream(folder + "/properties") << properties;
  }
  void MakeProcesses() { std::filesystem::create_directories(Processes()); }
  std::string Processes() const { return root_ + "/sys/devices/virtual/kfd/kfd/proc"; }
  void AddQueue(int id, int type, int size, int gpu_id) {
    const std::string folder = Processes() + "/42/queues/" + std::to_string(id);
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/type") << type << "\n";
    std::ofstream(folder + "/size") << size << "\n";
    std::ofstream(folder + "/gpuid") << gpu_id << "\n";
  }

  std::string root_;
};

constexpr GpuKey kFirst = 768 + 1, kSecond = (1u << 16 | 768) + 1;

TEST_F(KfdTreeTest, FindsAGpuByItsPciAddressAndDomain) {
  KfdNode node;
  ASSERT_TRUE(FindKfdNode(root_.c_str(), kFirst, &node));
  EXPECT_EQ(node.gpu_id, 4660u);
  EXPECT_EQ(node.compute_units, 80u);
  EXPECT_EQ(node.shader_arrays, 16u);
  ASSERT_TRUE(FindKfdNode(root_.c_str(), kSecond, &node));
  EXPECT_EQ(node.compute_units, 304u);
  EXPECT_FALSE(FindKfdNode(root_.c_str(), 0x900 + 1, &node));
  EXPECT_FALSE(FindKfdNode("/nowhere", kFirst, &node));
}

// Our masks are right for units that are dealt out one by one.
TEST_F(KfdTreeTest, SetsNoMaskWhereUnitsGoByPairs) {
  for (const auto& [name, version, arrays] :
       {std::tuple{"3", 90500, 32u}, {"4", 100300, 0u}, {"5", 110000, 0u}}) {
    AddNode(name, 99,
            "simd_count 1216\nsimd_per_cu 4\narray_count 32\ndomain 0\nlocation_id " +
                std::to_string(1000 + version) + "\ngfx_target_version " + std::to_string(version) +
                "\n");
    KfdNode node;
    const GpuKey key = static_cast<GpuKey>((1000 + version) & 0xffff) + 1;
    ASSERT_TRUE(FindKfdNode(root_.c_str(), key, &node)) << version;
    EXPECT_EQ(node.shader_arrays, arrays) << version;
  }
}

TEST_F(KfdTreeTest, FindsTheQueueThatCameWithACreation) {
  MakeProcesses();
  AddQueue(0, 0, 65536, 4660);
  QueueIdProbe probe(root_.c_str(), 42);
  ASSERT_TRUE(probe.TakeBefore());
  AddQueue(1, 0, 4096, 4660);    // ROCr's own, of another size
  AddQueue(2, 1, 65536, 4660);   // SDMA
  AddQueue(3, 0, 65536, 22136);  // another GPU's
  AddQueue(7, 0, 65536, 4660);
  const KfdNode node{.gpu_id = 4660, .compute_units = 80, .shader_arrays = 16};
  EXPECT_EQ(probe.FindNew(node, 65536), 7u);
  EXPECT_EQ(probe.FindNew(node, 131072), kUnknownKfdQueueId);
}

TEST_F(KfdTreeTest, NamesNoQueueWhenTwoCouldBeMeant) {
  MakeProcesses();
  QueueIdProbe probe(root_.c_str(), 42);
  ASSERT_TRUE(probe.TakeBefore());
  AddQueue(4, 0, 65536, 4660);
  AddQueue(5, 0, 65536, 4660);
  EXPECT_EQ(probe.FindNew({.gpu_id = 4660}, 65536), kUnknownKfdQueueId);
}

// Our queue is given the id of one that another thread destroys meanwhile, and looks old; a third one's, which
// is not made through us, is the only new one.
TEST_F(KfdTreeTest, NamesNoQueueWhereAnIdMayHaveBeenUsedAgain) {
  MakeProcesses();
  AddQueue(3, 0, 65536, 4660);
  QueueDestructions destructions;
  const KfdNode node{.gpu_id = 4660, .compute_units = 80, .shader_arrays = 16};
  destructions.Begin();
  destructions.End();
  QueueIdProbe undisturbed(root_.c_str(), 42, &destructions);
  ASSERT_TRUE(undisturbed.TakeBefore());
  QueueIdProbe disturbed = undisturbed;
  AddQueue(4, 0, 65536, 4660);
  EXPECT_EQ(undisturbed.FindNew(node, 65536), 4u);
  destructions.Begin();
  QueueIdProbe during(root_.c_str(), 42, &destructions);
  ASSERT_TRUE(during.TakeBefore());
  EXPECT_EQ(disturbed.FindNew(node, 65536), kUnknownKfdQueueId) << "it is under way";
  destructions.End();
  EXPECT_EQ(disturbed.FindNew(node, 65536), kUnknownKfdQueueId);
  AddQueue(5, 0, 65536, 4660);
  EXPECT_EQ(during.FindNew(node, 65536), kUnknownKfdQueueId) << "it ended after the look";
}

TEST_F(KfdTreeTest, KnowsNothingWithoutTheDriversList) {
  QueueIdProbe probe(root_.c_str(), 42);
  EXPECT_FALSE(probe.TakeBefore());
  EXPECT_EQ(probe.FindNew({.gpu_id = 4660}, 65536), kUnknownKfdQueueId);
}

TEST(KfdAccessTest, RefusesAnUnknownQueueWithoutAskingTheDriver) {
  KfdAccess kfd;
  const std::uint32_t mask = 1;
  EXPECT_EQ(kfd.Update({}, 0), ENOENT);
  EXPECT_EQ(kfd.SetMask({}, &mask, 32), ENOENT);
}

}  // namespace
}  // namespace xsched_hsa
