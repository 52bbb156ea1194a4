// SPDX-License-Identifier: Apache-2.0
// One node as its scheduler sees it: settings, the tick in flight, the breaker, the account. Internal; the thread of its
// executor, but for `vitals`.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include <horus/io/reactor.hpp>
#include <horus/sched/await_profile.hpp>
#include <horus/sched/circuit_breaker.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/node_settings.hpp>
#include <horus/sched/quiet_log.hpp>
#include <horus/sched/rate_divider.hpp>
#include <horus/sched/restart_policy.hpp>
#include <horus/sched/statistics.hpp>
#include <horus/sched/timeline.hpp>
#include <horus/sched/vitals.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus {
struct SchedulerConfig;
}

namespace horus::detail {

class Executor;

class NodeRecord final : public Chain, public ExecutionAccount {
 public:
  NodeRecord(std::shared_ptr<NodeBase> node, std::size_t index);

  std::shared_ptr<NodeBase> node;
  Node* coroutine_node;  // exactly one of these two is set
  PlainNode* plain_node;
  std::size_t index;  // order of addition
  NodeSettings settings;
  NodeVitals vitals;
  Executor* executor = nullptr;  // from the first run on

  // --- Life
  /// Takes the settings for a run. Throws Error where they contradict each other.
  void prepare(Executor& on, const SchedulerConfig& config);
  [[nodiscard]] NodeState state() const noexcept { return state_; }
  void set_state(NodeState state) noexcept;
  /// Its cancelled tick does not end; when it does, the node is `afterwards`.
  void set_stuck(NodeState afterwards) noexcept;
  /// init() has ended well: from now on it ticks, half-open when it had been restarted.
  void begin_life(bool after_restart) noexcept;
  void pause(bool paused) noexcept;
  /// Whether its circuit breaker lets it begin anew by itself.
  [[nodiscard]] bool restarts_itself() const noexcept { return restarts_.config().enabled; }
  [[nodiscard]] RestartPolicy& restart_policy() noexcept { return restarts_; }
  void force_open() noexcept;
  void reset_circuit() noexcept;
  /// Takes a change of the deadline or the watchdog while it runs.
  void settings_changed() noexcept;
  /// Calls enter_safe_state(), unless that was done since the last clean tick. Any thread.
  bool enter_safe_state() noexcept;
  /// What the monitor has written into `vitals.step` since the last call. On the loop.
  void climb_ladder() noexcept;

  // --- The grid: start + k / rate, computed from k so that it never drifts
  [[nodiscard]] bool periodic() const noexcept { return settings.rate.hz > 0; }
  void start_grid(std::int64_t start_ns) noexcept;
  [[nodiscard]] std::int64_t next_release() const noexcept { return next_release_; }
  /// Moves to the first grid point after the last one that has come by `now_ns`, which is returned; the ones between
  /// were missed by the loop.
  std::int64_t advance_grid(std::int64_t now_ns) noexcept;
  /// For Policy::edf.
  [[nodiscard]] std::int64_t absolute_deadline() const noexcept;

  // --- Ticks
  /// A grid point has come: starts a tick, or says why not. Returns the time afterwards.
  std::int64_t offer(std::int64_t grid_ns, std::int64_t now_ns) noexcept;
  [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
  /// Asks the tick in flight to end, which then counts as `reason`.
  void cancel_tick(TickOutcome reason) noexcept;
  /// How long an event-driven node rests before its next tick, for its failures; kNever: until something changes.
  [[nodiscard]] std::int64_t rest(std::int64_t now_ns) noexcept;
  /// Set whenever no tick is in flight.
  Event ended;
  /// Set while it may tick: running, neither paused nor between two lives.
  Event runnable;
  /// Frees the frame of the last tick.
  void forget_tick() noexcept { task_ = Task<>(); }
  /// Ends what still waits to start, and the clocks. At the end of a run.
  /// The run ends: it is not released any more, so its watchdog watches what is in flight alone.
  void leave(std::int64_t now_ns) noexcept;
  void end_life() noexcept;

  [[nodiscard]] NodeStatistics statistics() const;
  void note_error(std::string line) { account_.last_error = std::move(line); }
  void set_name(const std::string& name);
  [[nodiscard]] const std::string& node_name() const noexcept { return node_name_; }
  [[nodiscard]] bool logs() const noexcept { return settings.logging_enabled; }
  /// "awaiting recv at gps.cpp:31"; empty when it awaits nothing.
  [[nodiscard]] std::string awaiting() const;

  // --- Chain and ExecutionAccount
  std::coroutine_handle<> finished() noexcept override;
  [[nodiscard]] std::string name() const override { return node_name_ + " tick"; }
  void resumed(const Chain& chain, std::int64_t now_ns) noexcept override;
  void ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept override;

 private:
  struct NodeTimer : io::Timer {
    NodeRecord* record = nullptr;
  };
  std::int64_t release(std::int64_t grid_ns, std::int64_t now_ns) noexcept;
  void skip(TickOutcome why, std::int64_t grid_ns) noexcept;
  void settle(std::exception_ptr failure, std::int64_t end_ns, std::int64_t execution_ns) noexcept;
  void report_failure(const std::exception_ptr& failure, std::int64_t now_ns) noexcept;
  void miss(bool budget, std::int64_t now_ns, std::int64_t took_ns) noexcept;
  void breaker_changed(CircuitState before, std::int64_t now_ns) noexcept;
  void opened(std::int64_t now_ns) noexcept;
  void feed(std::int64_t now_ns) noexcept;
  void update_clock(std::int64_t now_ns) noexcept;
  void record_event(TimelineEvent::Kind kind, std::int64_t begin_ns, std::int64_t end_ns,
                    std::uint8_t detail) noexcept;
  void insert(NodeTimer& timer, std::int64_t deadline_ns) noexcept;
  void cancel(NodeTimer& timer) noexcept;
  [[nodiscard]] std::int64_t grid_point(std::uint64_t k) const noexcept;
  static void on_deadline(io::Timer& timer) noexcept;
  static void on_stuck(io::Timer& timer) noexcept;
  static void on_queued(io::Timer& timer) noexcept;

  std::string node_name_;
  NodeState state_ = NodeState::added;
  NodeState after_stuck_ = NodeState::running;
  bool paused_ = false;

  Task<> task_;
  bool in_flight_ = false;
  bool leaving_ = false;
  bool missed_ = false;     // the tick in flight, its deadline
  bool skip_next_ = false;  // Miss::skip
  bool safe_episode_ = false;
  bool ran_noted_ = false;  // the last stretch of the tick has been told to the timeline
  TickOutcome reason_ = TickOutcome::cancelled_shutdown;
  std::int64_t queued_for_ = -1;  // grid point that waits for the tick in flight

  std::int64_t grid_start_ = 0;
  std::uint64_t grid_index_ = 0;
  std::uint32_t divisor_ = 1;
  std::int64_t next_release_ = 0;
  std::int64_t released_for_ = 0;  // grid point of the tick in flight
  std::int64_t tick_start_ = 0;
  std::int64_t execution_ns_ = 0;  // of the tick in flight
  std::int64_t life_began_ns_ = 0;
  std::int64_t deadline_ns_ = 0;
  std::int64_t budget_ns_ = 0;

  CircuitBreaker breaker_;
  RestartPolicy restarts_{RestartConfig{}, 0};
  RateDivider divider_;
  std::int64_t retry_ns_ = 0;  // of an event-driven node that fails
  WatchdogStep seen_step_ = WatchdogStep::well;
  NodeTimer deadline_timer_, stuck_timer_, queued_timer_;
  QuietLog failure_log_, deadline_log_, budget_log_;
  AwaitProfile awaits_;
  NodeStatistics account_;  // its counters and histograms; the rest is filled in by statistics()
  std::atomic<std::uint64_t> safe_states_{0};
};

/// One line for what `failure` holds; false when it is not a horus::Error but a bug.
bool describe_failure(const std::exception_ptr& failure, std::string& line);
bool is_cancellation(const std::exception_ptr& failure);

}  // namespace horus::detail
