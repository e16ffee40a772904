#include "install_paths.h"

#include <filesystem>

namespace dual_model {

const Paths& InstallPaths() {
  static const Paths paths = [] {
    std::error_code ignored;
    const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", ignored);
    const std::filesystem::path prefix = self.parent_path().parent_path();
    return Paths{self.string(), self.parent_path().string(),
                 (prefix / "share/xsched-hsa/dual-model").string()};
  }();
  return paths;
}

}  // namespace dual_model
