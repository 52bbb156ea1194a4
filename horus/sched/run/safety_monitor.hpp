// SPDX-License-Identifier: Apache-2.0
// A thread that watches the loops and needs nothing of them. Internal.
//
//   loop ── beat, running, fed ──▶ vitals ──▶ monitor ── step ──▶ loop (takes it over within 20 ms)
//                                               │ or, where the loop does not come:
//                                               ├─▶ MonitorLog: a line, the culprit's stack
//                                               ├─▶ HookHelpers: enter_safe_state()
//                                               └─▶ muting, the emergency stop, the end of the process
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/sched/data/absence.hpp>
#include <horus/sched/data/vitals.hpp>
#include <horus/sched/node/hook_helpers.hpp>
#include <horus/sched/run/loop_watch.hpp>
#include <horus/sched/run/monitor_log.hpp>

namespace horus::HORUS_ABI {
class Scheduler;
}

namespace horus::HORUS_ABI::detail {

class Executor;

/// What the monitor of one run is to know.
struct MonitorPlan {
  std::vector<Executor*> executors;  ///< the first is that of the run's own thread, where signals are read
  std::atomic<bool>* emergency = nullptr;
  std::atomic<bool>* stop_requested = nullptr;
  std::atomic<int>* signals_read = nullptr;  ///< how many the loop has read
  std::uint64_t signals = 0;  ///< bit 0 is signal 1; 0: the run does not own the process's signals
  bool exit_when_blocked = false;
  std::int64_t end_ns = kNever;  ///< of run_for()
};

/// Semantics: looks at effects (who was not fed) and at the beat of each loop; what runs at the moment only names the
/// culprit. It runs no user code, allocates nothing, takes no lock and waits for nobody. A step of a watchdog's ladder that
/// the loop has not taken over within 20 ms is the monitor's. In virtual time there is no thread; the scheduler calls `scan`.
class SafetyMonitor {
 public:
  static constexpr std::int64_t kGrace_ns = 20'000'000;          ///< for the loop to take a step over
  static constexpr std::int64_t kEmergencyGrace_ns = 5'000'000;  ///< for the loop to begin with its hooks
  static constexpr std::int64_t kStopLimit_ns =
      5'000'000'000;  ///< from the request to the end of the process
  static constexpr std::int64_t kStartPatience_ns =
      10'000'000'000;                      ///< then nodes that have started are watched
  static constexpr int kExitBlocked = 70;  ///< EX_SOFTWARE: exit_when_blocked
  static constexpr int kExitStuck = 75;    ///< EX_TEMPFAIL: a supervisor should start us again

  SafetyMonitor() = default;
  SafetyMonitor(const SafetyMonitor&) = delete;
  SafetyMonitor& operator=(const SafetyMonitor&) = delete;
  ~SafetyMonitor() { stop(); }

  void start(MonitorPlan plan);
  /// Waits for the hooks that run. The run's thread.
  void stop() noexcept;
  [[nodiscard]] bool runs() const noexcept { return thread_.joinable(); }
  [[nodiscard]] HookHelpers& hooks() noexcept { return hooks_; }

  // --- Any thread
  /// Looks at once. Also from a signal handler.
  void notify() noexcept;
  /// A watchdog was set anew.
  void look_at_watchdogs() noexcept;
  /// Safe states, the last lines, and out: at most 100 ms.
  void end_process(int code) noexcept;
  /// Whether the stop took longer than its 5 s and the process was not this run's to end.
  [[nodiscard]] bool stop_was_late() const noexcept { return stop_was_late_.load(std::memory_order_acquire); }

  struct Scan {
    bool moved = false;
    bool open = false;              ///< a step that nobody has taken over
    std::int64_t next_ns = kNever;  ///< nothing can move before that
  };
  /// Moves the ladders of one executor's nodes on, each by one step at most. `turned`: since the last absence.
  static Scan scan(Executor& executor, std::int64_t now_ns, const Absences& absences, bool turned) noexcept;
  /// How often it has to look in virtual time: a quarter of the shortest watchdog time, within limits.
  static std::int64_t period_of(const std::vector<Executor*>& executors) noexcept;

 private:
  void run() noexcept;
  /// Tells an absence that has just ended by how late the thread is.
  void note_absence(std::int64_t now_ns) noexcept;
  void look(std::int64_t now_ns) noexcept;
  void look_at_ladders(std::int64_t now_ns) noexcept;
  void take_over(LoopWatch& watch, std::int64_t now_ns) noexcept;
  static void look_at_away(NodeVitals& vitals, std::int64_t away_ns, std::int64_t now_ns,
                           const Absences& absences, Scan& result) noexcept;
  void stop_for_away(NodeRecord& record, std::int64_t now_ns) noexcept;
  void act(NodeRecord& record, WatchdogStep step, const LoopWatch& watch, std::int64_t now_ns) noexcept;
  void look_at_emergency(std::int64_t now_ns) noexcept;
  void look_at_signals(std::int64_t now_ns) noexcept;
  void look_at_stop(std::int64_t now_ns) noexcept;
  void look_after_hooks(std::int64_t now_ns) noexcept;
  void request_stop() noexcept;
  void call_hooks(bool all) noexcept;
  [[noreturn]] void end(int code) noexcept;
  [[nodiscard]] bool somebody_stands(std::int64_t now_ns) const noexcept;
  void name_culprits(const char* consequence, std::int64_t now_ns) noexcept;
  [[nodiscard]] std::int64_t period_ns() const noexcept;

  MonitorPlan plan_;
  std::vector<LoopWatch> watches_;
  HookHelpers hooks_;
  MonitorLog log_;
  Absences absences_;
  std::int64_t last_look_ns_ = 0;
  std::int64_t due_ns_ = 0;   // when this thread was to go on
  std::int64_t used_ns_ = 0;  // processor time of the process, when it went on last
  std::int64_t next_scan_ns_ = 0;
  std::int64_t started_ns_ = 0;
  std::int64_t emergency_seen_ns_ = 0;
  std::int64_t stop_seen_ns_ = 0;
  bool steps_open_ = false;
  bool mutes_open_ = false;
  bool calling_hooks_ = false;
  bool limit_heard_ = false;
  int signals_taken_ = 0;
  bool handed_known_ = false;
  std::uint32_t handed_before_ =
      0;  // signals that had been handed to the loop before those that wait for it now
  std::atomic<bool> scan_now_{false};
  std::atomic<int> exit_code_{-1};  // asked for by end_process()
  std::atomic<bool> stop_was_late_{false};
  std::atomic<std::uint32_t> word_{0};  // futex: changes wake the thread
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace horus::HORUS_ABI::detail
