// SPDX-License-Identifier: Apache-2.0
// A thread that watches the loops: it notices what a loop that hangs cannot notice itself. Internal.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <pthread.h>

namespace horus::detail {

class Executor;

/// Semantics: looks at the watchdogs' clocks and writes their steps; a free loop acts on them itself. While a loop is
/// blocked, the monitor acts for it: it reports the node with its stack, calls safe-state hooks, hears SIGINT and SIGTERM.
/// It allocates nothing while it runs, as a blocked thread may hold the allocator's lock.
/// In virtual time there is no thread; `scan` is called by the scheduler.
class SafetyMonitor {
 public:
  SafetyMonitor() = default;
  SafetyMonitor(const SafetyMonitor&) = delete;
  SafetyMonitor& operator=(const SafetyMonitor&) = delete;
  ~SafetyMonitor() { stop(); }

  struct Watch {
    Executor* executor = nullptr;
    std::int64_t reported_since_ns = 0;  // the stretch of running that has been reported
  };

  /// `own_signals`: SIGINT and SIGTERM that a blocked loop does not take are taken here.
  void start(std::vector<Executor*> executors, std::atomic<bool>& emergency,
             std::atomic<bool>& stop_requested, bool own_signals, bool exit_when_blocked);
  void stop() noexcept;
  /// Looks at once. Any thread, also a signal handler.
  void notify() noexcept;
  /// Moves the ladders of one executor's nodes on. True when one moved.
  static bool scan(Executor& executor, std::int64_t now_ns) noexcept;
  /// How often it has to look: a quarter of the shortest watchdog time, within limits.
  static std::int64_t period_of(const std::vector<Executor*>& executors) noexcept;

 private:
  void run() noexcept;
  void look(std::int64_t now_ns) noexcept;
  void look_at_blocked(Watch& watch, std::int64_t now_ns) noexcept;
  void enter_safe_states() noexcept;
  void hear_signals() noexcept;

  std::vector<Watch> watched_;
  std::vector<Executor*> executors_;
  std::atomic<bool>* emergency_ = nullptr;
  std::atomic<bool>* stop_requested_ = nullptr;
  std::int64_t emergency_seen_ns_ = 0;
  bool own_signals_ = false;
  bool exit_when_blocked_ = false;
  bool takes_stacks_ = false;
  int signals_heard_ = 0;
  std::atomic<std::uint32_t> word_{0};  // futex: changes wake the thread
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace horus::detail
