// SPDX-License-Identifier: Apache-2.0
// One node as its scheduler sees it: settings, the tick in flight, the breaker, the account. Internal; the thread of its
// executor, but for `vitals`.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include <horus/base/quiet_log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/circuit_breaker.hpp>
#include <horus/sched/data/rate_divider.hpp>
#include <horus/sched/data/vitals.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/node/await_profile.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/node_settings.hpp>
#include <horus/sched/restart_policy.hpp>
#include <horus/sched/statistics.hpp>
#include <horus/sched/timeline.hpp>
#include <horus/task/cancellation.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {
struct SchedulerConfig;
}

namespace horus::HORUS_ABI::detail {

class NodeRecord final : public Chain, public ExecutionAccount {
 public:
  NodeRecord(std::shared_ptr<NodeBase> node, std::size_t index);

  std::shared_ptr<NodeBase> node;
  Node* coroutine_node;  // exactly one of these two is set
  PlainNode* plain_node;
  NodeHost* host = nullptr;  // from the first run on
  std::uint32_t slot = 0;    // among the nodes of its executor
  NodeVitals vitals;
  /// Has the processor fetch what a tick needs, in two steps; with many nodes it is no longer in the cache.
  void fetch() const noexcept {
    const char* const self = reinterpret_cast<const char*>(this);
    for (std::size_t line = 0; line < kHotBytes; line += 64) __builtin_prefetch(self + line, 1);
  }
  void fetch_node() const noexcept { __builtin_prefetch(node.get(), 1); }

 private:
  // --- What every tick needs, side by side
  static constexpr std::size_t kHotBytes = 448;
  bool in_flight_ = false;
  bool leaving_ = false;
  bool settling_ = false;          // an emergency stop has been heard, and what it did then has not ended
  bool shields_stopped_ = false;   // of the tick in flight, by an emergency stop
  bool settle_isolation_ = false;  // the second call of the hook is due when the tick in flight ends
  bool missed_ = false;            // the tick in flight, its deadline
  bool skip_next_ = false;         // Miss::skip
  bool ran_noted_ = false;         // the last stretch of the tick has been told to the timeline
  bool timed_ = false;             // the tick in flight has set a timer
  bool calm_ = false;  // a good tick changes nothing but its account: nothing has failed, nor was it late
  Task<> task_;
  std::int64_t released_for_ = 0;  // grid point of the tick in flight
  std::int64_t tick_start_ = 0;
  std::int64_t execution_ns_ = 0;  // of the tick in flight
  std::int64_t deadline_ns_ = 0;
  std::int64_t budget_ns_ = 0;
  std::int64_t on_time_ns_ = 0;   // a response that is; -1: none, without a grid
  std::int64_t queued_for_ = -1;  // grid point that waits for the tick in flight
  std::int64_t next_release_ = 0;

 public:
  /// Set whenever no tick is in flight.
  Event ended;

  std::size_t index;  // order of addition
  NodeSettings settings;
  bool open = false;  // init() has ended well, and shutdown() has not begun

  // --- Life
  /// Takes the settings for a run. Throws Error where they contradict each other.
  void prepare(NodeHost& on, const SchedulerConfig& config);
  [[nodiscard]] NodeState state() const noexcept { return vitals.state.load(std::memory_order_relaxed); }
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
  /// Calls enter_safe_state() here and now, unless that was done since the last clean tick. Any thread.
  bool enter_safe_state() noexcept;
  /// Somebody else has called it.
  void count_safe_state() noexcept { safe_states_.fetch_add(1, std::memory_order_relaxed); }
  /// The same if somebody has asked for it (`vitals.hook`) and nobody has begun.
  bool run_wanted_hook() noexcept;
  /// Mutes its publishers from another thread than the loop's, or asks the next look to, where that would wait.
  void mute_from_outside() noexcept;
  /// Its clock begins or ends by what it is meant to do now.
  void update_clock(std::int64_t now_ns) noexcept;
  /// It begins anew. Where it is critical and does so for ever, it must be back within 3 x its watchdog, else 3 s.
  void went_away() noexcept;
  /// It has ticked, or is not meant to.
  void came_back() noexcept;
  /// The same time begins once more: an emergency stop was reset.
  void begin_away(std::int64_t now_ns) noexcept;
  /// The episode is over: the node is well, or the emergency stop was reset.
  void leave_safe_state() noexcept;
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
  /// An emergency stop keeps it from acting, or what it did when the stop came has not ended yet.
  [[nodiscard]] bool held() const noexcept {
    return settling_ || (host->in_emergency() && !settings.keep_in_emergency);
  }
  /// Begins that: its tick is asked to end, what is queued is dropped, its clock stands still.
  void hold(std::int64_t now_ns) noexcept;
  /// Nothing of it runs any more.
  void settled(std::int64_t now_ns) noexcept;
  /// The emergency stop was reset.
  void let_act(std::int64_t now_ns) noexcept;
  /// The second call of enter_safe_state(), once.
  void run_settled_hook() noexcept;
  /// How long an event-driven node rests before its next tick, for its failures; kNever: until something changes.
  [[nodiscard]] std::int64_t rest(std::int64_t now_ns) noexcept;
  /// Its init() at the start of a run.
  Scope starting{"init", Failures::log};
  Event start_over;  // that has ended
  bool started_well = false;
  bool starts_late = false;  // the others did not wait for it
  /// Set while it may tick: running, neither paused nor between two lives.
  Event runnable;
  /// Set while neither init() nor shutdown() runs.
  Event idle;
  /// Frees the frame of the last tick.
  void forget_tick() noexcept { task_ = Task<>(); }
  /// Ends what still waits to start, and the clocks. At the end of a run.
  /// The run ends: it is not released any more, so its watchdog watches what is in flight alone.
  void leave(std::int64_t now_ns) noexcept;
  void end_life() noexcept;

  [[nodiscard]] NodeStatistics statistics() const;
  /// Where the executor's log counts its ticks.
  [[nodiscard]] NodeStatistics& account() noexcept { return account_; }
  /// What any thread can tell while the loop is blocked: state, watchdog, safe states.
  void view_from_outside(NodeStatistics& into, std::int64_t now_ns) const noexcept;
  void note_error(std::string line) { account_.last_error = std::move(line); }
  void set_name(const std::string& name);
  [[nodiscard]] const std::string& node_name() const noexcept { return node_name_; }
  [[nodiscard]] bool logs() const noexcept { return settings.logging_enabled; }
  /// "awaiting recv at gps.cpp:31"; empty when it awaits nothing.
  [[nodiscard]] std::string awaiting() const;

  /// Of what it has spawned: says whose code runs.
  [[nodiscard]] ExecutionAccount& background() noexcept { return background_; }
  /// Of its init() and shutdown().
  [[nodiscard]] ExecutionAccount& account_of(Activity activity) noexcept {
    life_account_.activity = activity;
    return life_account_;
  }

  // --- Chain and ExecutionAccount
  std::coroutine_handle<> finished() noexcept override;
  [[nodiscard]] std::string name() const override { return node_name_ + " tick"; }
  [[nodiscard]] std::string_view label() const noexcept override { return node_name_; }
  void resumed(const Chain& chain, std::int64_t now_ns) noexcept override;
  void ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept override;

 private:
  struct NodeTimer : io::Timer {
    NodeRecord* record = nullptr;
  };
  // Says whose code runs, and as what; charges nothing.
  struct Account final : ExecutionAccount {
    Account(NodeRecord& of, Activity as) noexcept : record(of), activity(as) {}
    void resumed(const Chain& chain, std::int64_t now_ns) noexcept override;
    void ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept override;
    NodeRecord& record;
    Activity activity;
  };
  std::int64_t release(std::int64_t grid_ns, std::int64_t now_ns) noexcept;
  void skip(TickOutcome why, std::int64_t grid_ns) noexcept;
  void settle(std::exception_ptr failure, std::int64_t end_ns, std::int64_t execution_ns) noexcept;
  void report_failure(const std::exception_ptr& failure, std::int64_t now_ns) noexcept;
  void miss(bool budget, std::int64_t now_ns, std::int64_t took_ns) noexcept;
  void breaker_changed(CircuitState before, std::int64_t now_ns) noexcept;
  void opened(std::int64_t now_ns) noexcept;
  void feed(std::int64_t now_ns) noexcept {
    if (vitals.timeout_ns.load(std::memory_order_relaxed) == 0) return;
    vitals.fed_ns.store(now_ns, std::memory_order_relaxed);
    if (host->journaled) [[unlikely]]
      host->attend_outside();
    const bool expired = vitals.step.load(std::memory_order_acquire) != WatchdogStep::well;
    if (expired || vitals.isolated.load(std::memory_order_relaxed)) [[unlikely]]
      end_expiry(now_ns, expired);
  }
  void end_expiry(std::int64_t now_ns, bool expired) noexcept;
  void recover(std::int64_t now_ns) noexcept;
  void stop_waiting() noexcept;
  void stay_away() noexcept;
  void record_event(TimelineEvent::Kind kind, std::int64_t begin_ns, std::int64_t end_ns,
                    std::uint8_t detail) noexcept;
  void insert(NodeTimer& timer, std::int64_t deadline_ns) noexcept;
  void cancel(NodeTimer& timer) noexcept;
  [[nodiscard]] std::int64_t grid_point(std::uint64_t k) const noexcept;
  static void on_deadline(io::Timer& timer) noexcept;
  static void on_stuck(io::Timer& timer) noexcept;
  static void on_queued(io::Timer& timer) noexcept;

  std::string node_name_;
  NodeState after_stuck_ = NodeState::running;
  bool paused_ = false;

  bool safe_episode_ = false;
  bool away_ = false;  // from its restart to its next good tick
  TickOutcome reason_ = TickOutcome::cancelled_shutdown;
  std::uint64_t failures_in_row_ = 0;
  std::int64_t grid_start_ = 0;
  std::uint64_t grid_index_ = 0;
  std::uint32_t divisor_ = 1;
  std::int64_t life_began_ns_ = 0;

  CircuitBreaker breaker_;
  RestartPolicy restarts_{RestartConfig{}, 0};
  RateDivider divider_;
  std::int64_t retry_ns_ = 0;  // of an event-driven node that fails
  WatchdogStep seen_step_ = WatchdogStep::well;
  NodeTimer deadline_timer_, stuck_timer_, queued_timer_;
  Account background_{*this, Activity::background};
  Account life_account_{*this, Activity::init};
  QuietLog failure_log_, on_error_log_, deadline_log_, budget_log_;
  AwaitProfile awaits_;
  NodeStatistics
      account_;  // its counters and histograms, less what the log holds; statistics() fills in the rest
  std::atomic<std::uint64_t> safe_states_{0};
};

/// "awaiting recv at gps.cpp:31"; empty when `chain` awaits nothing.
std::string describe_wait(const Chain& chain);
/// One line for what `failure` holds; false when it is not a horus::Error but a bug.
bool describe_failure(const std::exception_ptr& failure, std::string& line);
/// "12.3 ms".
std::string in_ms(std::int64_t ns);

}  // namespace horus::HORUS_ABI::detail
