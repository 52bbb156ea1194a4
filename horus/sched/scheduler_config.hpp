// SPDX-License-Identifier: Apache-2.0
// Settings of a scheduler, and the five presets. Plain data; copy freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/literals.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/record/recording.hpp>
#include <horus/sched/circuit_breaker.hpp>
#include <horus/sched/node_settings.hpp>
#include <horus/sched/restart_policy.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI::config {
class Document;
}

namespace horus::HORUS_ABI {

/// Settings of a thread that a scheduler starts.
struct ExecutorConfig {
  std::optional<int> cpu;  ///< the only processor it runs on; unset: any
  int rt_priority = 0;     ///< SCHED_FIFO priority, 1 to 99; 0: an ordinary thread; a refusal is logged
  Duration spin{0};        ///< poll instead of sleeping this long before a release
};

/// What the scheduler does about declared budgets that do not fit.
enum class Admission : std::uint8_t { off, warn, refuse };

/// A file that a run is recorded into.
struct RecordSettings {
  std::string path;
  RecordOptions options = RecordOptions();
};

/// How a scheduler runs. Start from a preset and change what differs:
/// `SchedulerConfig::low_latency().with_tick_rate(250_hz)`.
struct HORUS_API SchedulerConfig {
  SchedulerConfig() {}

  static SchedulerConfig standard();          ///< 100 Hz, balanced
  static SchedulerConfig high_performance();  ///< 200 Hz, larger batches, no spin
  static SchedulerConfig low_latency();       ///< 500 Hz, short spin, 1 ns timer slack
  static SchedulerConfig power_saving();      ///< 30 Hz, default timer slack
  static SchedulerConfig realtime();          ///< 1000 Hz, spin, locked memory and SCHED_FIFO where permitted
  /// One of the five by its name. Errors: Error(EINVAL) that lists the names.
  static Result<SchedulerConfig> named(const std::string& preset);
  /// Reads `[scheduler]`, `[executor.NAME]`, `[node.NAME]`, `[record]` and `[inspect]` of a TOML or YAML file
  /// (docs/scheduler.toml shows every key). Errors: kBadConfiguration with file, line and key; those of open(2).
  static Result<SchedulerConfig> from_file(const std::string& path);
  /// The same from a document that is already in memory. Errors: kBadConfiguration.
  static Result<SchedulerConfig> from_document(const config::Document& document);

  std::string file;  ///< from which it was read; empty: none. Recordings have it as an attachment
  std::string preset = "standard";
  Rate tick_rate{100};                    ///< rate of plain nodes that set none
  Policy policy = Policy::priority;       ///< which node starts first
  Admission admission = Admission::warn;  ///< what to do when budgets do not fit
  std::optional<Duration> timer_slack;    ///< of the thread that runs the scheduler; unset: left alone
  Duration spin{0};                       ///< poll instead of sleeping this long before a release
  bool lock_memory = false;               ///< mlockall; a refusal is logged, not an error
  int fifo_priority = 0;                  ///< SCHED_FIFO priority, 1 to 99; 0: off; a refusal is logged
  std::optional<int> cpu;                 ///< the only processor that the run's thread uses; unset: any

  bool circuit_breaker = true;
  CircuitConfig circuit;
  bool auto_restart = false;
  RestartConfig restart;
  /// False: deadlines and budgets of nodes are ignored.
  bool deadline_monitoring = true;
  /// For nodes without a setting of their own.
  bool watchdog_enabled = false;
  Duration watchdog_timeout = NodeSettings::kDefaultWatchdog;
  /// A thread that is blocked for three watchdog times ends the process with code 70.
  bool exit_when_blocked = false;

  /// SIGSEGV, SIGBUS and SIGABRT call every enter_safe_state(), for 100 ms at most.
  bool safe_states_on_crash = false;
  /// Tools may look into this program, through its door. False closes it for the whole process; HORUS_INSPECT=0 or 1 in
  /// the environment wins.
  bool inspect = true;
  /// They may also pause, resume and restart nodes, and end an emergency stop. An emergency stop itself is always permitted.
  bool inspect_control = false;

  Duration finish_limit{std::chrono::milliseconds(500)};  ///< at stop: how long ticks in flight may take
  Duration shutdown_limit{std::chrono::seconds(1)};  ///< at stop: how long each node's shutdown() may take
  /// How long each init() may await; then it is stopped and counts as failed; 0: no limit.
  Duration init_limit{0};
  std::size_t timeline_events = 0;  ///< events kept for Scheduler::timeline(), 32 bytes each; 0: none
  std::uint64_t seed = 1;           ///< of the jitter of restarts
  io::ReactorConfig reactor;
  std::map<std::string, ExecutorConfig> executors;
  std::vector<RecordSettings> records;         ///< files into which each run is recorded; they must not exist
  std::map<std::string, NodeOverrides> nodes;  ///< settings by node name; they override those in the program

  /// Applies the settings that `nodes` has for this node.
  void override(const std::string& node, NodeSettings& settings) const {
    if (const auto found = nodes.find(node); found != nodes.end()) found->second.apply_to(settings);
  }

  SchedulerConfig& with_tick_rate(Rate rate) & { return tick_rate = rate, *this; }
  SchedulerConfig& with_spin(Duration margin) & { return spin = margin, *this; }
  SchedulerConfig& with_backend(io::BackendChoice choice) & { return reactor.backend = choice, *this; }
  SchedulerConfig& with_timeline(std::size_t events) & { return timeline_events = events, *this; }
  [[nodiscard]] SchedulerConfig with_tick_rate(Rate rate) && { return std::move(with_tick_rate(rate)); }
  [[nodiscard]] SchedulerConfig with_spin(Duration margin) && { return std::move(with_spin(margin)); }
  [[nodiscard]] SchedulerConfig with_backend(io::BackendChoice choice) && {
    return std::move(with_backend(choice));
  }
  [[nodiscard]] SchedulerConfig with_timeline(std::size_t events) && {
    return std::move(with_timeline(events));
  }
};

/// The five presets under the names of HORUS: `RobotPreset::realtime()`.
using RobotPreset = SchedulerConfig;

}  // namespace horus::HORUS_ABI
