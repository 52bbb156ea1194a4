// SPDX-License-Identifier: Apache-2.0
// Somebody sets the time of day while nodes run: nothing that they do depends on it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/seam/forwarding.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sim/alone.hpp>

using horus::Task;
using namespace horus::literals;

namespace {

constexpr std::int64_t kHour_ns = 3'600'000'000'000;

class SetClock final : public horus::io::ForwardingClock {
 public:
  using ForwardingClock::ForwardingClock;
  [[nodiscard]] std::int64_t wall_clock_ns() noexcept override {
    return ForwardingClock::wall_clock_ns() + offset_ns;
  }
  std::int64_t offset_ns = 0;
};

// What a second of a watched 100 Hz node with a deadline comes to, while the clock is set again and again.
struct Drive {
  horus::NodeStatistics node;
  std::vector<std::int64_t> ticks_ns;
  std::int64_t largest_step_ns = 0;  // of the time of day, between two ticks
};

class Watched final : public horus::PlainNode {
 public:
  explicit Watched(Drive& drive) : PlainNode("watched"), drive_(drive) {}
  void tick() override {
    drive_.ticks_ns.push_back(horus::now_ns());
    const std::int64_t now = horus::wall_clock_ns();
    if (last_ns_ != 0) drive_.largest_step_ns = std::max(drive_.largest_step_ns, std::abs(now - last_ns_));
    last_ns_ = now;
  }

 private:
  Drive& drive_;
  std::int64_t last_ns_ = 0;
};

Task<> set_the_clock(SetClock& clock, std::vector<std::int64_t> offsets) {
  for (const std::int64_t offset : offsets) {
    co_await horus::sleep(150ms);
    clock.offset_ns = offset;
  }
}

Drive drive(std::vector<std::int64_t> offsets) {
  Drive result;
  const horus::io::ReactorConfig config;
  auto alone = horus::sim::make_backend_alone(config);
  REQUIRE(static_cast<bool>(alone));
  const auto set = std::make_shared<SetClock>(alone->clock);
  SetClock& clock = *set;
  alone->clock = set;
  horus::io::Reactor reactor(*std::move(alone), config);
  horus::Scheduler scheduler;
  scheduler.add(std::make_unique<Watched>(result)).rate(100_hz).deadline(5ms).watchdog(100ms);
  reactor.run([&]() -> Task<> {
    horus::Scope scope("clock");
    static_cast<void>(scope.spawn(set_the_clock(clock, std::move(offsets))));
    static_cast<void>(co_await scheduler.run_main(1s, false));
    co_await scope.join();
  });
  result.node = scheduler.statistics("watched").value();
  return result;
}

}  // namespace

TEST_CASE("a wall clock that is set by an hour, forward and back, causes nothing") {
  const Drive calm = drive({});
  const Drive jumpy = drive({kHour_ns, -kHour_ns, 0, -kHour_ns, kHour_ns});
  CHECK(calm.largest_step_ns < kHour_ns / 10);
  CHECK(jumpy.largest_step_ns >= 2 * kHour_ns);
  CHECK(jumpy.node.outcomes == calm.node.outcomes);
  CHECK(jumpy.node.grid_points >= 100);
  CHECK(jumpy.node.on_time_ticks == jumpy.node.grid_points);
  CHECK(jumpy.node.deadline_misses == 0);
  CHECK(!jumpy.node.watchdog_expired);
  CHECK(jumpy.node.release_lateness.max() == calm.node.release_lateness.max());
  REQUIRE(jumpy.ticks_ns.size() == calm.ticks_ns.size());
  for (std::size_t i = 1; i < calm.ticks_ns.size(); ++i)
    CHECK(jumpy.ticks_ns[i] - jumpy.ticks_ns[i - 1] == calm.ticks_ns[i] - calm.ticks_ns[i - 1]);
}
