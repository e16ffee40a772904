#include "kfd_access.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace xsched_hsa {
namespace {

// Debian's linux/kfd_ioctl.h needs a drm.h that Debian ships elsewhere; these two are ABI.
struct UpdateQueueArgs {
  std::uint64_t ring_base_address;
  std::uint32_t queue_id, ring_size, queue_percentage, queue_priority;
};
struct SetCuMaskArgs {
  std::uint32_t queue_id, num_cu_mask;
  std::uint64_t cu_mask_ptr;
};
constexpr unsigned long kUpdateQueue = _IOW('K', 0x07, UpdateQueueArgs);
constexpr unsigned long kSetCuMask = _IOW('K', 0x1A, SetCuMaskArgs);
static_assert(kUpdateQueue == 0x40184b07 && kSetCuMask == 0x40104b1a);

constexpr char kTopology[] = "/sys/devices/virtual/kfd/kfd/topology/nodes";
constexpr char kProcesses[] = "/sys/devices/virtual/kfd/kfd/proc";
constexpr std::uint64_t kComputeQueue = 0;  // KFD_QUEUE_TYPE_COMPUTE, the driver's own numbering
constexpr int kPathBytes = 256;
constexpr int kTriesMax = 64;
constexpr std::uint64_t kGfx10 = 100000;  // 10.0.0; from there on units go by pairs (WGP)

// Reads a small file whole; an empty text if it is not there.
void ReadText(const char* path, char* text, std::size_t text_bytes) {
  text[0] = '\0';
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  std::size_t length = 0;
  while (length + 1 < text_bytes) {
    const ssize_t got = read(fd, text + length, text_bytes - 1 - length);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
  }
  text[length] = '\0';
  close(fd);
}

bool ReadNumber(const char* path, std::uint64_t* number) {
  char text[64];
  ReadText(path, text, sizeof(text));
  char* end = nullptr;
  *number = std::strtoull(text, &end, 10);
  return end != text;
}

// "key value" lines.
bool FindProperty(const char* text, const char* key, std::uint64_t* value) {
  const std::size_t length = std::strlen(key);
  for (const char* line = text; line != nullptr && *line != '\0';) {
    if (std::strncmp(line, key, length) == 0 && line[length] == ' ') {
      *value = std::strtoull(line + length + 1, nullptr, 10);
      return true;
    }
    line = std::strchr(line, '\n');
    if (line != nullptr) ++line;
  }
  return false;
}

bool ReadNode(const char* root, const char* name, GpuKey key, KfdNode* node) {
  char path[kPathBytes], text[8192];
  std::uint64_t gpu_id = 0;
  std::snprintf(path, sizeof(path), "%s%s/%.20s/gpu_id", root, kTopology, name);
  if (!ReadNumber(path, &gpu_id) || gpu_id == 0) return false;  // 0: a CPU
  std::snprintf(path, sizeof(path), "%s%s/%.20s/properties", root, kTopology, name);
  ReadText(path, text, sizeof(text));
  std::uint64_t location = 0, domain = 0, simds = 0, simds_per_cu = 0, arrays = 0, gfx = 0;
  if (!FindProperty(text, "location_id", &location)) return false;
  FindProperty(text, "domain", &domain);
  if ((domain << 16 | (location & 0xffff)) + 1 != key) return false;
  FindProperty(text, "simd_count", &simds);
  FindProperty(text, "simd_per_cu", &simds_per_cu);
  FindProperty(text, "array_count", &arrays);
  node->gpu_id = static_cast<std::uint32_t>(gpu_id);
  node->compute_units = simds_per_cu != 0 ? static_cast<std::uint32_t>(simds / simds_per_cu) : 0;
  FindProperty(text, "gfx_target_version", &gfx);
  node->shader_arrays = gfx < kGfx10 ? static_cast<std::uint32_t>(arrays) : 0;
  return true;
}

template <typename Function>
bool ForEachEntry(const char* path, Function function) {
  DIR* directory = opendir(path);
  if (directory == nullptr) return false;
  while (const dirent* entry = readdir(directory)) {
    if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9') function(entry->d_name);
  }
  closedir(directory);
  return true;
}

// As the thunk does, but not for ever.
int Call(int fd, unsigned long request, void* args) {
  for (int tries = 0; tries < kTriesMax; ++tries) {
    if (ioctl(fd, request, args) == 0) return 0;
    if (errno != EINTR && errno != EAGAIN) break;
  }
  return errno;
}

}  // namespace

bool FindKfdNode(const char* root, GpuKey key, KfdNode* node) {
  char path[kPathBytes];
  std::snprintf(path, sizeof(path), "%s%s", root, kTopology);
  bool found = false;
  ForEachEntry(path, [&](const char* name) { found = found || ReadNode(root, name, key, node); });
  return found;
}

bool QueueIdProbe::TakeBefore() {
  destroyed_before_ = Destroyed();
  char path[kPathBytes];
  // A process without queues may not be listed; the driver's directory always is.
  std::snprintf(path, sizeof(path), "%s%s", root_, kProcesses);
  if (access(path, R_OK) != 0) return false;
  std::snprintf(path, sizeof(path), "%s%s/%d/queues", root_, kProcesses, pid_);
  std::memset(before_, 0, sizeof(before_));
  ForEachEntry(path, [this](const char* name) {
    const unsigned long id = std::strtoul(name, nullptr, 10);
    if (id < kKfdQueueIdsMax) before_[id / 64] |= std::uint64_t{1} << (id % 64);
  });
  return true;
}

bool QueueIdProbe::IsNewQueue(std::uint32_t id, const KfdNode& node,
                              std::uint64_t ring_bytes) const {
  if (id >= kKfdQueueIdsMax || (before_[id / 64] >> (id % 64) & 1) != 0) return false;
  const auto read = [this, id](const char* file, std::uint64_t* value) {
    char path[kPathBytes];
    std::snprintf(path, sizeof(path), "%s%s/%d/queues/%u/%s", root_, kProcesses, pid_, id, file);
    return ReadNumber(path, value);
  };
  std::uint64_t type = 0, size = 0, gpu_id = 0;
  return read("type", &type) && read("size", &size) && read("gpuid", &gpu_id) &&
         type == kComputeQueue && size == ring_bytes && gpu_id == node.gpu_id;
}

// ROCr may make a queue of its own in the same call; if it has the same size, neither is certain.
std::uint32_t QueueIdProbe::FindNew(const KfdNode& node, std::uint64_t ring_bytes) const {
  if (destroyed_before_ == QueueDestructions::kUnderWay) return kUnknownKfdQueueId;
  char path[kPathBytes];
  std::snprintf(path, sizeof(path), "%s%s/%d/queues", root_, kProcesses, pid_);
  std::uint32_t found = kUnknownKfdQueueId;
  int count = 0;
  ForEachEntry(path, [&](const char* name) {
    const auto id = static_cast<std::uint32_t>(std::strtoul(name, nullptr, 10));
    if (!IsNewQueue(id, node, ring_bytes)) return;
    found = id;
    ++count;
  });
  return count == 1 && Destroyed() == destroyed_before_ ? found : kUnknownKfdQueueId;
}

int KfdAccess::Open() {
  int fd = -1;
  return Descriptor(&fd);
}

int KfdAccess::Descriptor(int* fd) {
  *fd = fd_.fd();
  if (*fd >= 0) return 0;
  *fd = open("/dev/kfd", O_RDWR | O_CLOEXEC);
  if (*fd < 0) return errno;
  fd_ = OwnDescriptor(*fd);
  debug_.Use(*fd);
  return 0;
}

void KfdAccess::AfterForkInChild() {
  fd_.Close();
  debug_.AfterForkInChild();
}

int KfdAccess::BeginDebugSession() {
  int fd = -1;
  const int error = Descriptor(&fd);
  return error != 0 ? error : debug_.Begin(fd);
}

int KfdAccess::SuspendBatch(const std::uint32_t* ids, std::uint32_t count) {
  const int error = Open();
  return error != 0 ? error : debug_.Suspend(ids, count);
}

int KfdAccess::ResumeBatch(const std::uint32_t* ids, std::uint32_t count) {
  const int error = Open();
  return error != 0 ? error : debug_.Resume(ids, count);
}

int KfdAccess::Update(const KfdQueue& queue, std::uint32_t percentage) {
  if (queue.id == kUnknownKfdQueueId) return ENOENT;
  int fd = -1;
  if (const int error = Descriptor(&fd); error != 0) return error;
  UpdateQueueArgs args{};
  args.queue_id = queue.id;
  args.ring_base_address = queue.ring_base;
  args.ring_size = queue.ring_bytes;
  args.queue_percentage = percentage;
  args.queue_priority = queue.priority;
  return Call(fd, kUpdateQueue, &args);
}

int KfdAccess::SetMask(const KfdQueue& queue, const std::uint32_t* mask, std::uint32_t bits) {
  if (queue.id == kUnknownKfdQueueId) return ENOENT;
  int fd = -1;
  if (const int error = Descriptor(&fd); error != 0) return error;
  SetCuMaskArgs args{};
  args.queue_id = queue.id;
  args.num_cu_mask = bits;
  args.cu_mask_ptr = reinterpret_cast<std::uint64_t>(mask);
  return Call(fd, kSetCuMask, &args);
}

}  // namespace xsched_hsa
