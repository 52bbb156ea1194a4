// SPDX-License-Identifier: Apache-2.0
// What a reactor and a scheduler know about themselves: read from any thread while they run.
#include <horus/horus.hpp>

using namespace horus::literals;

int main() {
  horus::io::Reactor reactor;
  horus::Scheduler scheduler;
  scheduler.add("control", [] { /* steer */ }).rate(200_hz).priority(0);
  scheduler.add("planner", []() -> horus::Task<> { co_await horus::sleep(15ms); }).rate(50_hz);
  scheduler.add("watch", [&] {
    const auto control = scheduler.statistics("control");
    if (control && control->total_ticks >= 60) scheduler.stop();
  });
  const std::int64_t start = horus::monotonic_ns();
  const int code = reactor.run(scheduler.run_async());
  const std::int64_t elapsed = horus::monotonic_ns() - start;

  // One row per node: how often, how late it was released, how long it ran.
  fmt::print("{}", scheduler.status());
  const auto planner = scheduler.statistics("planner");
  fmt::print("planner: a tick took {:.1f} ms, of which it ran {:.3f} ms\n",
             static_cast<double>(planner->response.percentile(50)) / 1e6,
             static_cast<double>(planner->execution.percentile(50)) / 1e6);

  const horus::io::Statistics now = reactor.statistics();
  fmt::print(
      "reactor on {}: {} coroutines resumed, {} timers, {} calls into the kernel, asleep {:.0f} % of the "
      "time\n",
      reactor.backend_name(), now.resumes, now.timers, now.enters,
      100.0 * static_cast<double>(now.asleep_ns) / static_cast<double>(elapsed));
  return code;
}
