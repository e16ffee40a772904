// utilisation_cap.cc: everybody runs as the hardware lets them, but no program beyond its cap.
//
// Priorities are not looked at, nothing is urgent, and a program without a cap is left alone: the
// least that a policy can do. Caps hold in the other policies, too; this one has nothing else.
// caps.cc says how they are kept.
//
// Parameters read: window_us, linger_us, cap_period_ms.
#include "levels.h"
#include "policies_list.h"

namespace xsched_hsa {
namespace {

class UtilisationCap final : public Policy {
 public:
  explicit UtilisationCap(const PolicyParams& params) : params_(params) {}
  std::string_view Name() const override { return "utilisation-cap"; }
  void Decide(const Snapshot& snapshot, Answer* answer) const override {
    answer->Reset(snapshot.queues.size());
    for (std::size_t i = 0; i < snapshot.queues.size(); ++i) {
      answer->queues[i].memory = snapshot.queues[i].memory;
    }
    ApplyCaps(snapshot, params_, answer);
  }

 private:
  const PolicyParams params_;
};

}  // namespace

std::unique_ptr<Policy> MakeUtilisationCap(const PolicyParams& params) {
  return std::make_unique<UtilisationCap>(params);
}

}  // namespace xsched_hsa
