#include "locate.h"

#include <unistd.h>

#include <climits>
#include <vector>

namespace xsched_hsa {
namespace {

constexpr char kLayerName[] = "libxsched-hsa.so";

std::string OwnDirectory() {
  char path[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  if (size <= 0) return ".";
  const std::string self(path, static_cast<std::size_t>(size));
  return self.substr(0, self.rfind('/'));
}

std::string ParentOf(const std::string& directory) {
  return directory.substr(0, directory.rfind('/'));
}

std::vector<std::string> LayerPlaces() {
  const std::string prefix = ParentOf(OwnDirectory());
  return {prefix + "/lib/" + kLayerName, prefix + "/lib/" XSCHED_HSA_MULTIARCH "/" + kLayerName,
          prefix + "/" XSCHED_HSA_LIBDIR "/" + kLayerName, prefix + "/lib64/" + kLayerName,
          OwnDirectory() + "/" + kLayerName};
}

}  // namespace

std::string FindBeside(const std::string& program) {
  const std::string path = OwnDirectory() + "/" + program;
  return access(path.c_str(), X_OK) == 0 ? path : std::string();
}

std::string FindController() { return FindBeside("xsched-hsad"); }

std::string FindLayer() {
  for (const std::string& path : LayerPlaces()) {
    if (access(path.c_str(), R_OK) == 0) return path;
  }
  return {};
}

std::string SearchedLayerPlaces() {
  const std::string prefix = ParentOf(OwnDirectory());
  return prefix + "/lib and " + prefix + "/lib/" XSCHED_HSA_MULTIARCH;
}

}  // namespace xsched_hsa
