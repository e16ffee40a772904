// install_paths.h: where this program, its neighbours and its data are, in a build tree as
// installed.
//
// Why        bin/dual-model starts bin/xsched-hsad, bin/xsched-hsa-ctl and bin/virtual-gpu, and
//            reads share/xsched-hsa/dual-model/; all relative to the executable, so that a tree can
//            move.
// Threads    pure after the first call.
#pragma once

#include <string>

namespace dual_model {

struct Paths {
  std::string executable;    // this program
  std::string bin_folder;    // its folder
  std::string share_folder;  // bin/../share/xsched-hsa/dual-model
};
const Paths& InstallPaths();

}  // namespace dual_model
