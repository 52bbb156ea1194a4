// SPDX-License-Identifier: Apache-2.0
// Runs a scheduler in a simulated world: minutes of its time in milliseconds, the same every time.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sim/alone.hpp>
#include <horus/sim/world.hpp>

namespace virtual_time {

/// While it lives, reactors of this program are alone in simulated worlds: run_for() takes no time, on no processor's account.
class Alone {
 public:
  Alone() : before_(horus::io::set_backend_maker(&horus::sim::make_backend_alone)) {}
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;
  ~Alone() { horus::io::set_backend_maker(before_); }

 private:
  horus::io::BackendMaker before_;
};

struct Run {
  std::map<std::string, horus::NodeStatistics> nodes;
  std::vector<std::string> log;
  horus::Timeline timeline;
  int code = -1;
  horus::Duration length{};
  bool emergency = false;

  [[nodiscard]] int lines_with(const std::string& text) const {
    int count = 0;
    for (const std::string& line : log) count += line.find(text) != std::string::npos ? 1 : 0;
    return count;
  }
};

struct Plan {
  std::function<void(horus::Scheduler&)> build;
  horus::Duration length = std::chrono::seconds(1);
  horus::SchedulerConfig config = horus::SchedulerConfig::standard().with_timeline(100'000);
  /// A coroutine beside the scheduler: what a person or another program would do.
  std::function<horus::Task<>(horus::Scheduler&)> beside;
  std::map<std::string, horus::Duration> cost;  ///< CPU time of each tick
};

inline Run run(const Plan& plan) {
  Run result;
  auto previous =
      horus::set_log_sink([&](horus::LogLevel, std::string_view line) { result.log.emplace_back(line); });
  {
    horus::sim::World world(1);
    for (const auto& [node, time] : plan.cost) world.cost(node, horus::sim::uniform(time, time));
    world.process("robot", [&]() -> horus::Task<int> {
      return [](const Plan& todo, Run& into) -> horus::Task<int> {
        horus::Scheduler scheduler(todo.config);
        todo.build(scheduler);
        horus::Scope scope("beside");
        if (todo.beside) static_cast<void>(scope.spawn(todo.beside(scheduler)));
        const std::int64_t start = horus::now_ns();
        into.code = co_await scheduler.run_main(todo.length);
        into.length = horus::Duration(horus::now_ns() - start);
        for (horus::NodeStatistics& node : scheduler.statistics()) into.nodes[node.name] = node;
        into.timeline = scheduler.timeline();
        into.emergency = scheduler.emergency_stopped();
        scope.cancel();
        co_await scope.join();
        co_return 0;
      }(plan, result);
    });
    const horus::sim::Report& report = world.run_for(plan.length + std::chrono::minutes(1));
    CHECK_MESSAGE(report.passed, report.to_string());
  }
  horus::set_log_sink(std::move(previous));
  // Every grid point of a periodic node has ended as exactly one thing.
  for (const auto& [name, node] : result.nodes) {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : node.outcomes) sum += count;
    CHECK_MESSAGE(sum == node.grid_points, name);
    CHECK(node.successful_ticks + node.failed_ticks + node.cancelled_ticks == node.total_ticks);
    CHECK(node.total_ticks + node.ticks_skipped == node.grid_points);
  }
  return result;
}

}  // namespace virtual_time
