// core_fixture.h: the controller's rules against a fake layer that writes the pages.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>

#include "core.h"
#include "fake_layer.h"
#include "gpu_key.h"
#include "manual_clock.h"
#include "page_waker.h"
#include "policies/registry.h"
#include "urgency.h"

namespace xsched_hsa::testing {

struct Program {
  std::unique_ptr<ProcessPage> page = std::make_unique<ProcessPage>();
  std::unique_ptr<FakeLayer> layer;
  std::uint32_t session = 0;
  FakeLayer* operator->() const { return layer.get(); }
};

class CoreTest : public ::testing::Test {
 protected:
  explicit CoreTest(bool cross_user = false)
      : core_({.cross_user = cross_user}, &clock_,
              MakePolicy("strict-priority", {.window_us = 200, .linger_us = 250}), &waker_) {
    Core::InitUserPage(user_.get(), 1000);
    Core::InitUserPage(other_user_.get(), 2000);
  }

  Program Join(std::uint32_t uid = 1000, std::int32_t pid = 100,
               GateKind gate = GateKind::kWindow) {
    Program program;
    LayerInfo info;
    info.uid = uid;
    info.pid = pid;
    info.namespace_pid = static_cast<std::uint32_t>(pid) + 5000;
    info.gate = gate;
    UserPage* user = uid == 1000 ? user_.get() : other_user_.get();
    program.session = core_.AddSession(info, program.page.get(), user);
    program.layer =
        std::make_unique<FakeLayer>(program.page.get(), user, [this] { return clock_.NowUs(); });
    return program;
  }
  // A program with one queue in slot 0, known to the controller.
  Program JoinWithQueue(int priority, std::uint32_t uid = 1000, std::int32_t pid = 100,
                        GpuKey gpu = kGpuA) {
    Program program = Join(uid, pid);
    program->MakeQueue(0, 1, priority, gpu);
    core_.OnLayerEvent(program.session);
    return program;
  }
  void RaiseAndTell(const Program& program) {
    program->BecomeActive(0);
    core_.OnLayerEvent(program.session);
  }
  std::uint32_t Level(UserPage* user, GpuKey gpu = kGpuA) {
    return LevelOf(ClaimGpu(*user, gpu)->word.load());
  }
  const Session& SessionOf(const Program& program) { return *core_.sessions().at(program.session); }

  ManualClock clock_{10'000'000};
  PageWaker waker_;
  std::unique_ptr<UserPage> user_ = std::make_unique<UserPage>();
  std::unique_ptr<UserPage> other_user_ = std::make_unique<UserPage>();
  Core core_;
  const Caller root_{0, true};
};

class CrossUserCoreTest : public CoreTest {
 protected:
  CrossUserCoreTest() : CoreTest(true) {}
};

}  // namespace xsched_hsa::testing
