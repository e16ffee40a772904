// driver_test.cc: the driver model's parts without a device: memory, events, models, paths.

#include <errno.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "address_space.h"
#include "events.h"
#include "gpu_model.h"
#include "lag_histogram.h"
#include "topology.h"

namespace virtual_gpu {
namespace {

TEST(ArenaTest, FreedRangesJoinAndReadAsZero) {
  const auto arena = Arena::Create("test", 16 * kPageBytes);
  ASSERT_NE(arena, nullptr);
  std::uint64_t a = 0, b = 0, c = 0;
  ASSERT_TRUE(arena->Allocate(8 * kPageBytes, kPageBytes, &a));
  ASSERT_TRUE(arena->Allocate(8 * kPageBytes, kPageBytes, &b));
  EXPECT_FALSE(arena->Allocate(1, kPageBytes, &c));
  std::memset(arena->At(a), 0xff, kPageBytes);
  arena->Free(a, 8 * kPageBytes);
  arena->Free(b, 8 * kPageBytes);
  ASSERT_TRUE(arena->Allocate(16 * kPageBytes, kPageBytes, &c));
  EXPECT_EQ(*arena->At(c), std::byte{0});
}

TEST(ArenaTest, ItsFileCannotBeShrunk) {
  const auto arena = Arena::Create("test", kPageBytes);
  EXPECT_NE(ftruncate(arena->fd(), 0), 0);
}

class AddressSpaceTest : public ::testing::Test {
 protected:
  Allocation Add(std::uint64_t va, std::uint64_t bytes, bool mapped = true) {
    Allocation a;
    a.kind = Allocation::Kind::kGtt;
    a.handle = next_++;
    a.va = va;
    a.bytes = bytes;
    a.arena = arena_.get();
    EXPECT_TRUE(arena_->Allocate(bytes, kPageBytes, &a.offset));
    EXPECT_TRUE(space_.Add(a));
    if (mapped) space_.SetMapped(a.handle, 1, true);
    return a;
  }

  std::unique_ptr<Arena> arena_ = Arena::Create("test", 1 << 20);
  AddressSpace space_{getpid()};
  std::uint64_t next_ = 1;
};

TEST_F(AddressSpaceTest, PointersStayInsideTheirAllocation) {
  Add(0x10000, kPageBytes);
  EXPECT_NE(space_.HostPointer(0x10000, kPageBytes), nullptr);
  EXPECT_EQ(space_.HostPointer(0x10000, kPageBytes + 1), nullptr);
  EXPECT_EQ(space_.HostPointer(0x10000 + kPageBytes - 4, 8), nullptr);
  EXPECT_EQ(space_.HostPointer(0xffff, 1), nullptr);
  EXPECT_EQ(space_.HostPointer(~0ull, 8), nullptr);
  EXPECT_EQ(space_.HostPointer(0x10000, ~0ull), nullptr);
}

TEST_F(AddressSpaceTest, UnmappedMemoryIsNotReachable) {
  const Allocation a = Add(0x10000, kPageBytes, false);
  EXPECT_EQ(space_.HostPointer(0x10000, 8), nullptr);
  space_.SetMapped(a.handle, 1, true);
  EXPECT_NE(space_.HostPointer(0x10000, 8), nullptr);
  space_.SetMapped(a.handle, 1, false);
  std::uint64_t value;
  EXPECT_FALSE(space_.ReadValue(0x10000, &value));
}

TEST_F(AddressSpaceTest, CopiesCrossAllocationBorders) {
  Add(0x10000, kPageBytes);
  Add(0x10000 + kPageBytes, kPageBytes);
  Add(0x40000, 2 * kPageBytes);
  std::vector<std::uint8_t> in(2 * kPageBytes), out(2 * kPageBytes);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint8_t>(i * 3);
  ASSERT_TRUE(space_.Write(0x10000, in.data(), in.size()));
  ASSERT_TRUE(space_.Copy(0x40000, 0x10000, in.size()));
  ASSERT_TRUE(space_.Read(0x40000, out.data(), out.size()));
  EXPECT_EQ(in, out);
  EXPECT_FALSE(space_.Copy(0x40000, 0x10001, in.size()));
}

TEST_F(AddressSpaceTest, UserMemoryIsReadAndWrittenThroughTheProcess) {
  std::vector<std::uint64_t> pages(1024, 5);
  Allocation a;
  a.kind = Allocation::Kind::kUserptr;
  a.handle = 99;
  a.va = 0x700000;
  a.bytes = pages.size() * 8;
  a.offset = reinterpret_cast<std::uint64_t>(pages.data());
  ASSERT_TRUE(space_.Add(a));
  space_.SetMapped(a.handle, 1, true);
  std::uint64_t old = 0;
  ASSERT_TRUE(space_.AtomicAdd64(0x700008, 2, &old));
  EXPECT_EQ(old, 5u);
  EXPECT_EQ(pages[1], 7u);
  EXPECT_FALSE(space_.AtomicAdd64(0x700001, 1, &old));  // misaligned
}

TEST_F(AddressSpaceTest, OverlappingRangesAreRefused) {
  Add(0x10000, 2 * kPageBytes);
  Allocation a;
  a.va = 0x10000 + kPageBytes;
  a.bytes = kPageBytes;
  a.handle = 50;
  EXPECT_FALSE(space_.Add(a));
  a.va = 0xf000;
  a.bytes = 2 * kPageBytes;
  EXPECT_FALSE(space_.Add(a));
}

// WAIT_EVENTS as a process makes it: a connection, and what came back on it.
class EventsTest : public ::testing::Test {
 protected:
  struct Client {
    int fd = -1;
    std::shared_ptr<Connection> connection;
    ~Client() { close(fd); }
  };
  static Client MakeClient() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    Client client;
    client.fd = fds[0];
    client.connection = std::make_shared<Connection>(fds[1], getpid(), getuid());
    return client;
  }
  EventTable::WaiterId Wait(const Client& client, std::uint32_t id, std::uint64_t age = 0,
                            std::uint32_t timeout = ~0u) {
    EventData data = {};
    data.event_id = id;
    data.last_event_age = age;
    kfd::WaitEventsArgs args = {0, 1, 0, timeout, 99};
    Request request;
    request.connection = client.connection;
    const auto arg = std::as_bytes(std::span(&args, 1));
    const auto payload = std::as_bytes(std::span(&data, 1));
    request.arg.assign(arg.begin(), arg.end());
    request.payload.assign(payload.begin(), payload.end());
    return events_.Wait(request);
  }
  // The wait_result of the answer, or -1 when there is none.
  static int Answer(const Client& client) {
    std::byte buffer[256];
    const ssize_t got = recv(client.fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < static_cast<ssize_t>(sizeof(rpc::ReplyHeader) + sizeof(kfd::WaitEventsArgs))) {
      return -1;
    }
    kfd::WaitEventsArgs args;
    std::memcpy(&args, buffer + sizeof(rpc::ReplyHeader), sizeof(args));
    return static_cast<int>(args.wait_result);
  }
  std::uint32_t Make(bool auto_reset, std::uint32_t type = kfd::kEventSignal) {
    std::uint32_t id = 0;
    EXPECT_EQ(events_.Create(type, auto_reset, 0, &id), 0);
    return id;
  }

  EventTable events_;
};

TEST_F(EventsTest, SetWakesEveryWaiterOfAnAutoResetEvent) {
  const Client first = MakeClient(), second = MakeClient();
  const std::uint32_t id = Make(true);
  EXPECT_NE(Wait(first, id), 0u);
  EXPECT_NE(Wait(second, id), 0u);
  EXPECT_EQ(Answer(first), -1);
  events_.Set(id);
  EXPECT_EQ(Answer(first), kfd::kWaitComplete);
  EXPECT_EQ(Answer(second), kfd::kWaitComplete);
  // Nothing was latched: somebody waited.
  EXPECT_NE(Wait(first, id), 0u);
  EXPECT_EQ(Answer(first), -1);
}

TEST_F(EventsTest, SetWithoutAWaiterLatchesOnce) {
  const Client client = MakeClient();
  const std::uint32_t id = Make(true);
  events_.Set(id);
  events_.Set(id);
  EXPECT_EQ(Wait(client, id), 0u);
  EXPECT_EQ(Answer(client), kfd::kWaitComplete);
  EXPECT_NE(Wait(client, id), 0u);
}

TEST_F(EventsTest, AStaleAgeReturnsAtOnce) {
  const Client first = MakeClient(), second = MakeClient();
  const std::uint32_t id = Make(true);
  Wait(first, id, 1);
  events_.Set(id);  // wakes the first; the second has not waited yet
  EXPECT_EQ(Wait(second, id, 1), 0u);
  EXPECT_EQ(Answer(second), kfd::kWaitComplete);
  EXPECT_NE(Wait(second, id, 2), 0u);
}

TEST_F(EventsTest, TimeoutAndDestructionAnswerTheWaiter) {
  const Client client = MakeClient();
  const std::uint32_t id = Make(true);
  EXPECT_EQ(Wait(client, id, 0, 0), 0u);
  EXPECT_EQ(Answer(client), kfd::kWaitTimeout);
  events_.Expire(Wait(client, id));
  EXPECT_EQ(Answer(client), kfd::kWaitTimeout);
  Wait(client, id);
  events_.Destroy(id);
  EXPECT_EQ(Answer(client), kfd::kWaitFail);
  EXPECT_EQ(Wait(client, id), 0u);  // EINVAL
}

TEST_F(EventsTest, AnInterruptWithAnUnknownIdScansThePage) {
  std::vector<std::uint64_t> page(kfd::kEventsMax, 0);
  events_.SetPage(page.data());
  const Client client = MakeClient();
  const std::uint32_t id = Make(true);
  Wait(client, id);
  page[id] = id;
  events_.Interrupt(4000);
  EXPECT_EQ(Answer(client), kfd::kWaitComplete);
  EXPECT_EQ(page[id], ~0ull);
}

TEST_F(EventsTest, AForgottenConnectionIsNotAnswered) {
  const std::uint32_t id = Make(false);
  {
    const Client gone = MakeClient();
    Wait(gone, id);
    events_.Forget(gone.connection.get());
  }
  EXPECT_EQ(events_.Set(id), 0);
}

TEST_F(EventsTest, IdsAreNeverZeroAndEnd) {
  std::uint32_t id = 0;
  for (std::uint32_t i = 1; i < kfd::kEventsMax; ++i) EXPECT_NE(Make(true), 0u);
  EXPECT_EQ(events_.Create(kfd::kEventSignal, true, 0, &id), ENOSPC);
}

TEST(GpuModelTest, ParametersAndIsaAreChecked) {
  GpuModel model;
  std::string note, error;
  EXPECT_TRUE(
      MakeModel({"mi308x", "gfx942", {"runlist_cycle_ns=5e5", "seed=7"}}, &model, &note, &error))
      << error;
  EXPECT_EQ(model.part.params.runlist_cycle_ns, 500'000);
  EXPECT_EQ(model.gfx_target_version, 90402u);
  EXPECT_FALSE(MakeModel({"mi308x", "auto", {"seed=x"}}, &model, &note, &error));
  EXPECT_FALSE(MakeModel({"mi308x", "auto", {"nothing=1"}}, &model, &note, &error));
  EXPECT_FALSE(MakeModel({"mi999", "auto", {}}, &model, &note, &error));
  EXPECT_EQ(GfxName(90010), "gfx90a");
  EXPECT_EQ(GfxName(90402), "gfx942");
}

TEST(LagHistogramTest, QuantilesAreWithinAQuarter) {
  LagHistogram lag;
  for (int i = 1; i <= 1000; ++i) lag.Add(i * 1000);
  EXPECT_NEAR(static_cast<double>(lag.Quantile(0.5)), 500e3, 130e3);
  EXPECT_NEAR(static_cast<double>(lag.Quantile(0.99)), 990e3, 250e3);
  EXPECT_EQ(lag.max_ns(), 1'000'000);
}

// The files of so many GPUs of one profile, in a folder of the test's own.
class TopologyTest : public testing::Test {
 protected:
  ~TopologyTest() override { std::filesystem::remove_all(root_); }
  void Generate(const ModelRequest& request, std::uint32_t gpus) {
    GpuModel model;
    std::string note, error;
    ASSERT_TRUE(MakeModel(request, &model, &note, &error)) << error;
    std::vector<TopologyGpu> all;
    for (std::uint32_t i = 0; i < gpus; ++i) all.push_back({0x4d01 + (i << 8), model});
    GenerateTopology(root_, all);
  }
  const std::filesystem::path root_ = std::filesystem::temp_directory_path() /
                                      ("virtual-gpu-topology-test-" + std::to_string(getpid()));
};

TEST_F(TopologyTest, ThePropertiesFitOnePage) {
  Generate({}, 2);
  const auto nodes = root_ / "sys/devices/virtual/kfd/kfd/topology/nodes";
  // The thunk reads each file with one fread of a page.
  EXPECT_LT(std::filesystem::file_size(nodes / "2/properties"), kPageBytes);
  std::ifstream in(nodes / "1/properties");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("simd_count 320\n"), std::string::npos) << text;
  EXPECT_NE(text.find("num_xcc 4\n"), std::string::npos);
  // What an MI300X shows, without SVM (bit 27); the debugger's bits decide whether ROCr 6.4 and
  // later can start twice in a process.
  EXPECT_NE(text.find("\ncapability " + std::to_string(0x2c77a280 & ~(1u << 27)) + "\n"),
            std::string::npos)
      << text;
  EXPECT_TRUE(std::filesystem::exists(root_ / "sys/class/kfd/kfd/topology/generation_id"));
}

// "key value" lines of a file.
std::map<std::string, std::uint64_t> PropertiesOf(const std::filesystem::path& path) {
  std::map<std::string, std::uint64_t> values;
  std::ifstream in(path);
  std::string key;
  for (std::uint64_t value; in >> key >> value;) values[key] = value;
  return values;
}

// libdrm compares the names of primary nodes, and takes devices without one for the same.
TEST_F(TopologyTest, EachRenderNodeHasItsOwnPrimaryNode) {
  Generate({}, 3);
  std::set<std::string> primary;
  for (const char* minor : {"128", "129", "130"}) {
    const auto nodes = root_ / "sys/dev/char" / (std::string("226:") + minor) / "device/drm";
    for (const auto& entry : std::filesystem::directory_iterator(nodes)) {
      if (entry.path().filename().string().starts_with("card"))
        primary.insert(entry.path().filename());
    }
  }
  EXPECT_EQ(primary.size(), 3u) << testing::PrintToString(primary);
}

// Of a dump of an MI300X's node; left out is what the machine decides, and what is not there (SVM,
// each CU's caches, num_kcq=2).
TEST_F(TopologyTest, AnMi300xShowsWhatARealOneShows) {
  Generate({"mi300x", "gfx942", {}}, 1);
  const auto node = root_ / "sys/devices/virtual/kfd/kfd/topology/nodes/1";
  const std::map<std::string, std::uint64_t> shown = PropertiesOf(node / "properties");
  const std::map<std::string, std::uint64_t> real = {{"cpu_cores_count", 0},
                                                     {"simd_count", 1216},
                                                     {"mem_banks_count", 1},
                                                     {"max_waves_per_simd", 8},
                                                     {"lds_size_in_kb", 64},
                                                     {"gds_size_in_kb", 0},
                                                     {"num_gws", 64},
                                                     {"wave_front_size", 64},
                                                     {"array_count", 32},
                                                     {"simd_arrays_per_engine", 1},
                                                     {"cu_per_simd_array", 10},
                                                     {"simd_per_cu", 4},
                                                     {"max_slots_scratch_cu", 32},
                                                     {"gfx_target_version", 90402},
                                                     {"vendor_id", 4098},
                                                     {"device_id", 29857},
                                                     {"location_id", 18176},
                                                     {"drm_render_minor", 128},
                                                     {"num_sdma_engines", 2},
                                                     {"num_sdma_xgmi_engines", 14},
                                                     {"num_sdma_queues_per_engine", 8},
                                                     {"max_engine_clk_fcompute", 2100},
                                                     {"local_mem_size", 0},
                                                     {"fw_version", 166},
                                                     {"debug_prop", 1511},
                                                     {"sdma_fw_version", 22},
                                                     {"num_xcc", 8}};
  for (const auto& [key, value] : real) {
    ASSERT_TRUE(shown.contains(key)) << key;
    EXPECT_EQ(shown.at(key), value) << key;
  }
  const std::uint64_t caches = shown.at("caches_count");
  std::map<std::uint64_t, std::uint64_t> data;  // the data caches' sizes by level
  for (std::uint64_t i = 0; i < caches; ++i) {
    const auto cache = PropertiesOf(node / "caches" / std::to_string(i) / "properties");
    if (cache.at("type") & 1) data[cache.at("level")] = cache.at("size");
  }
  EXPECT_EQ(data, (std::map<std::uint64_t, std::uint64_t>{{1, 32}, {2, 4096}, {3, 262144}}));
}

}  // namespace
}  // namespace virtual_gpu
