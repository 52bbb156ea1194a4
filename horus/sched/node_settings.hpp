// SPDX-License-Identifier: Apache-2.0
// The settings of one node, from its builder or a configuration file; some can change while it runs. Plain values.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/literals.hpp>
#include <horus/sched/restart_policy.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI {

struct NodeSettings {
  static constexpr int kDefaultPriority = 100;
  static constexpr int kMaxPriority = 1'000'000;
  static constexpr double kMaxRate_hz = 100'000;
  static constexpr Duration kMaxDeadline{std::chrono::seconds(10)};
  static constexpr Duration kLeastWatchdog{std::chrono::milliseconds(10)};
  static constexpr Duration kMostWatchdog{std::chrono::seconds(60)};
  static constexpr Duration kDefaultWatchdog{std::chrono::seconds(1)};

  Rate rate{};                      ///< 0: event-driven, or the scheduler's for a plain node
  int priority = kDefaultPriority;  ///< 0 starts first
  Duration deadline{0};             ///< from the grid point to the end of the tick; 0: none
  Duration budget{0};               ///< execution time of one tick; 0: none
  Miss on_miss = Miss::warn;
  Miss on_budget = Miss::warn;
  Overrun overrun = Overrun::skip;
  std::optional<bool> watchdog_enabled;  ///< unset: the scheduler's configuration decides
  std::optional<Duration> watchdog;      ///< the same
  bool critical = false;                 ///< its watchdog and its last restart trip the emergency stop
  /// Keeps ticking and publishing during an emergency stop, for a node that only observes.
  bool keep_in_emergency = false;
  /// Ticks cancelled by a deadline or an overrun count as failures for the circuit breaker.
  bool miss_is_failure = false;
  bool logging_enabled = true;           ///< whether the log has lines about this node
  std::optional<bool> circuit_breaker;   ///< unset: the scheduler's configuration decides
  std::optional<bool> auto_restart;      ///< the same
  std::optional<RestartConfig> restart;  ///< the same
  std::string executor;                  ///< empty: the thread that runs the scheduler
};

/// A node's settings in a configuration file; they override those in the program.
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
  std::string source;  ///< where the settings are, "rover.toml:12", for messages; empty: in the program

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
  /// The file's restart settings override those of the node and of the scheduler.
  void apply_to(RestartConfig& restart) const {
    restart.first_delay = restart_delay.value_or(restart.first_delay);
    restart.longest_delay = restart_longest_delay.value_or(restart.longest_delay);
    restart.within = restart_within.value_or(restart.within);
    restart.most = max_restarts.value_or(restart.most);
    restart.for_ever = restart_for_ever.value_or(restart.for_ever);
  }
};

}  // namespace horus::HORUS_ABI
