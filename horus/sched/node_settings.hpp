// SPDX-License-Identifier: Apache-2.0
// What can be set for one node: by its builder, by a configuration file, and some of it while it runs. Plain values.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/literals.hpp>
#include <horus/sched/restart_policy.hpp>
#include <horus/sched/states.hpp>

namespace horus {

struct NodeSettings {
  static constexpr int kDefaultPriority = 100;
  static constexpr int kMaxPriority = 1'000'000;
  static constexpr double kMaxRate_hz = 100'000;
  static constexpr Duration kMaxDeadline{std::chrono::seconds(10)};
  static constexpr Duration kLeastWatchdog{std::chrono::milliseconds(10)};
  static constexpr Duration kMostWatchdog{std::chrono::seconds(60)};
  static constexpr Duration kDefaultWatchdog{std::chrono::seconds(1)};

  Rate rate{};                      ///< 0: event-driven, or the scheduler's for a plain node
  int priority = kDefaultPriority;  ///< 0 first
  Duration deadline{0};             ///< grid → end; 0: none
  Duration budget{0};               ///< execution; 0: none
  Miss on_miss = Miss::warn;
  Miss on_budget = Miss::warn;
  Overrun overrun = Overrun::skip;
  std::optional<bool> watchdog_enabled;  ///< unset: as the scheduler's configuration says
  std::optional<Duration> watchdog;      ///< the same
  bool critical = false;                 ///< its watchdog and its last restart trip the emergency stop
  bool keep_in_emergency = false;  ///< it ticks on and publishes during an emergency stop: it only looks
  bool miss_is_failure =
      false;                    ///< ticks cancelled by a deadline or an overrun count for the circuit breaker
  bool logging_enabled = true;  ///< lines about this node in the log
  std::optional<bool> circuit_breaker;   ///< unset: as the scheduler's configuration says
  std::optional<bool> auto_restart;      ///< the same
  std::optional<RestartConfig> restart;  ///< the same
  std::string executor;                  ///< empty: the thread that runs the scheduler
};

/// What a configuration file says about a node; it wins over what the program says.
struct NodeOverrides {
  std::optional<Rate> rate;
  std::optional<int> priority;
  std::optional<Duration> deadline, budget, watchdog;
  std::optional<Miss> on_miss, on_budget;
  std::optional<Overrun> overrun;
  std::optional<bool> watchdog_enabled, critical, keep_in_emergency, miss_is_failure, logging_enabled,
      circuit_breaker, auto_restart, restart_for_ever;
  std::optional<Duration> restart_delay, restart_longest_delay, restart_within;
  std::optional<std::uint32_t> max_restarts;
  std::optional<std::string> executor;
  std::string source;  ///< where it was said, "rover.toml:12", for messages; empty: in the program

  void apply_to(NodeSettings& settings) const {
    const auto take = [](auto& setting, const auto& value) {
      if (value) setting = *value;
    };
    const auto take_either = [](auto& setting, const auto& value) {  // an optional setting
      if (value) setting = value;
    };
    take(settings.rate, rate);
    take(settings.priority, priority);
    take(settings.deadline, deadline);
    take(settings.budget, budget);
    take_either(settings.watchdog, watchdog);
    take(settings.on_miss, on_miss);
    take(settings.on_budget, on_budget);
    take(settings.overrun, overrun);
    take_either(settings.watchdog_enabled, watchdog_enabled);
    take(settings.critical, critical);
    take(settings.keep_in_emergency, keep_in_emergency);
    take(settings.miss_is_failure, miss_is_failure);
    take(settings.logging_enabled, logging_enabled);
    take_either(settings.circuit_breaker, circuit_breaker);
    take_either(settings.auto_restart, auto_restart);
    take(settings.executor, executor);
  }
  /// Wins over what the node and the scheduler say about restarts.
  void apply_to(RestartConfig& restart) const {
    restart.first_delay = restart_delay.value_or(restart.first_delay);
    restart.longest_delay = restart_longest_delay.value_or(restart.longest_delay);
    restart.within = restart_within.value_or(restart.within);
    restart.most = max_restarts.value_or(restart.most);
    restart.for_ever = restart_for_ever.value_or(restart.for_ever);
  }
};

}  // namespace horus
