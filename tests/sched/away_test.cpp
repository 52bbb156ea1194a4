// SPDX-License-Identifier: Apache-2.0
// A critical node that is restarted for ever and does not come back. In virtual time, but for the one that blocks its loop.
#include <atomic>
#include <thread>

#include <doctest/doctest.h>

#include "../support/captured_log.hpp"
#include "virtual_time.hpp"

using horus::Task;
using namespace horus::literals;

namespace {

// Works until `unplugged`, fails until `plugged`; then it works again. Times from the start of the run.
class Device : public horus::Node {
 public:
  Device(horus::Duration unplugged, horus::Duration plugged)
      : Node("device"), unplugged_(unplugged), plugged_(plugged) {}
  Task<> init() override {
    if (start_ns_ == 0) start_ns_ = horus::now_ns();
    co_await check();
  }
  Task<> tick() override { co_await check(); }

 private:
  Task<> check() {
    const horus::Duration now(horus::now_ns() - start_ns_);
    if (now >= unplugged_ && now < plugged_) throw horus::Error(ENODEV, "open", "/dev/arm");
    co_return;
  }
  horus::Duration unplugged_, plugged_;
  std::int64_t start_ns_ = 0;
};

horus::RestartConfig for_ever() {
  horus::RestartConfig config;
  config.for_ever = true;
  return config;
}

// When emergency stops came, in ms from the start; each is reset after 2 s.
struct Stops {
  std::vector<std::int64_t> at_ms;
  Task<> watch(horus::Scheduler& scheduler) {
    const std::int64_t start = horus::now_ns();
    while (true) {
      co_await horus::sleep(1ms);
      if (!scheduler.emergency_stopped()) continue;
      at_ms.push_back((horus::now_ns() - start) / 1'000'000);
      co_await horus::sleep(2s);
      scheduler.reset_emergency_stop();
    }
  }
};

constexpr const char* kLine = "device: not back after";

}  // namespace

TEST_CASE(
    "a critical node that is restarted for ever and not back within 3 watchdogs trips the emergency stop") {
  Stops stops;
  const auto run = virtual_time::run({
      .build =
          [](horus::Scheduler& scheduler) {
            scheduler.add<Device>(2s, 9s).rate(100_hz).watchdog(200ms).critical().restart(for_ever());
          },
      .length = 20s,
      .beside = [&](horus::Scheduler& scheduler) { return stops.watch(scheduler); },
  });
  CHECK(run.code == 0);
  // Five failed ticks, 600 ms. After each reset the time begins anew, and the restarts go on.
  REQUIRE(stops.at_ms.size() >= 2);
  CHECK(stops.at_ms[0] >= 2640);
  CHECK(stops.at_ms[0] <= 2720);
  CHECK(stops.at_ms[1] - stops.at_ms[0] >= 2600);
  CHECK(stops.at_ms[1] - stops.at_ms[0] <= 2680);
  CHECK(run.lines_with(kLine) == static_cast<int>(stops.at_ms.size()));
  CHECK(run.lines_with("device: not back after 600 ms of restarts, and as it is critical: emergency stop") >=
        2);
  CHECK(run.lines_with("(open /dev/arm") >= 1);
  // It came back by itself, and no stop came after that.
  CHECK(stops.at_ms.back() < 19000);
  CHECK_FALSE(run.emergency);
  CHECK(run.nodes.at("device").state == horus::NodeState::stopped);  // with the run
  CHECK(run.nodes.at("device").consecutive_failures == 0);
}

TEST_CASE("without a watchdog it has three seconds") {
  Stops stops;
  const auto run = virtual_time::run({
      .build =
          [](horus::Scheduler& scheduler) {
            scheduler.add<Device>(2s, 1h).rate(100_hz).critical().restart(for_ever());
          },
      .length = 6s,
      .beside = [&](horus::Scheduler& scheduler) { return stops.watch(scheduler); },
  });
  REQUIRE(stops.at_ms.size() == 1);
  CHECK(stops.at_ms[0] >= 5040);
  CHECK(stops.at_ms[0] <= 5120);
}

TEST_CASE(
    "one that is back in time stops nobody, nor does one that is not critical, paused or opened by hand") {
  const auto run_with = [](horus::Duration back_after, bool critical,
                           const std::function<Task<>(horus::Scheduler&)>& beside = {}) {
    return virtual_time::run({
        .build =
            [=](horus::Scheduler& scheduler) {
              scheduler.add<Device>(2s, 2s + back_after).rate(100_hz).critical(critical).restart(for_ever());
            },
        .length = 10s,
        .beside = beside,
    });
  };
  const auto in_time = run_with(1s, true);
  CHECK_FALSE(in_time.emergency);
  CHECK(in_time.lines_with(kLine) == 0);
  CHECK(in_time.nodes.at("device").successful_ticks > 500);
  CHECK_FALSE(run_with(1h, false).emergency);
  CHECK_FALSE(run_with(1h, true, [](horus::Scheduler& scheduler) -> Task<> {
                co_await horus::sleep(3s);
                static_cast<void>(scheduler.open_circuit("device"));
              }).emergency);
  CHECK(run_with(1h, true).emergency);
}

TEST_CASE("an emergency stop that somebody else made holds the clock") {
  Stops stops;
  const auto run = virtual_time::run({
      .build =
          [](horus::Scheduler& scheduler) {
            scheduler.add<Device>(2s, 6s).rate(100_hz).critical().restart(for_ever());
          },
      .length = 12s,
      .beside = [](horus::Scheduler& scheduler) -> Task<> {
        co_await horus::sleep(3s);
        scheduler.emergency_stop();
        co_await horus::sleep(5s);
        scheduler.reset_emergency_stop();
      },
  });
  CHECK(run.lines_with(kLine) == 0);
  CHECK(run.nodes.at("device").consecutive_failures == 0);
}

TEST_CASE("the clock is the monitor's: an init() that blocks the loop does not stop it") {
  const horus::testing::CapturedLog log;
  std::atomic<std::int64_t> away{0}, safe{0};
  struct Blocks : horus::PlainNode {
    std::atomic<std::int64_t>&away, &safe;
    int inits = 0;
    Blocks(std::atomic<std::int64_t>& left, std::atomic<std::int64_t>& stopped)
        : PlainNode("arm"), away(left), safe(stopped) {}
    void init() override {
      if (++inits == 1) return;
      const std::int64_t until = horus::monotonic_ns() + 5'000'000'000;
      while (safe == 0 && horus::monotonic_ns() < until) std::this_thread::sleep_for(1ms);
    }
    void tick() override {
      if (away == 0) away = horus::monotonic_ns();
      throw horus::Error(ENODEV, "open", "/dev/arm");
    }
    void enter_safe_state() noexcept override { safe = horus::monotonic_ns(); }
  };
  horus::Scheduler scheduler;
  horus::RestartConfig rules = for_ever();
  scheduler.add<Blocks>(away, safe).rate(100_hz).watchdog(300ms).critical().restart(rules);
  std::thread stops([&] {
    const std::int64_t until = horus::monotonic_ns() + 8'000'000'000;
    while (safe == 0 && horus::monotonic_ns() < until) std::this_thread::sleep_for(1ms);
    scheduler.stop();
  });
  scheduler.run();
  stops.join();
  CHECK(scheduler.emergency_stopped());
  CHECK((safe - away) / 1'000'000 >= 900);
  CHECK((safe - away) / 1'000'000 <= 4000);  // the loop is blocked for 5 s
  CHECK(log.count("arm: not back after 900 ms of restarts") == 1);
}
