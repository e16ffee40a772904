// debugfs_text.h: the text of /sys/kernel/debug/kfd/{hqds,mqds,rls}.
//
// Why        Tools that look for active queues parse these register dumps. The registers that the
//            model has a value for are filled in, the others are 0.
// Threads    the server's only; takes each GPU's lock for its queues.
// Units      ring pointers in 32-bit words, as the registers count.
// See        dqm_debugfs_hqds, pqm_debugfs_mqds, pm_debugfs_runlist; struct v9_mqd
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gpu.h"
#include "process.h"

namespace virtual_gpu {

struct KfdView {
  const std::vector<std::unique_ptr<Gpu>>* gpus;
  const ProcessTable* processes;
};

std::string HqdsText(const KfdView& view);
std::string MqdsText(const KfdView& view);
std::string RunlistsText(const KfdView& view);

}  // namespace virtual_gpu
