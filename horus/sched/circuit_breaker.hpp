// SPDX-License-Identifier: Apache-2.0
// The circuit breaker of one node: after too many failures it keeps the node from running for a while, then lets it try.
// A state machine over times that the caller gives; plain value, one thread.
#pragma once

#include <cstdint>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI {

struct CircuitConfig {
  bool enabled = true;
  std::uint32_t max_failures = 5;  ///< consecutive failures that open it, 1 to 1000
  std::uint32_t window = 0;        ///< how many recent ticks `window_share` looks at, up to 1000; 0: off
  double window_share = 0.5;       ///< the share of failed ticks in the window that opens it, above 0 up to 1
  std::uint32_t window_least = 10;             ///< ticks needed in the window before its share counts
  Duration open_for{std::chrono::seconds(1)};  ///< for the first time; doubles after each failed probe
  Duration longest_open{std::chrono::seconds(30)};
  std::uint32_t close_after = 3;  ///< successful probes in a row that close it
};

/// closed → open (too many failures) → half_open (time is up, or the node was restarted) → closed or open again.
///
/// Semantics: call `admit` at each release, then `succeeded` or `failed`; call neither for a tick that ended in
/// another way. A half-open breaker admits one release at a time, because a node has at most one tick in flight.
class HORUS_API CircuitBreaker {
 public:
  explicit CircuitBreaker(const CircuitConfig& config = {}) : config_(config) {}

  /// True when the node may run now. A refusal is counted.
  bool admit(std::int64_t now_ns) noexcept;
  void succeeded(std::int64_t now_ns) noexcept;
  /// Counts a failure; true when it opened the breaker.
  bool failed(std::int64_t now_ns) noexcept;

  /// Opens it until reset().
  void force_open(std::int64_t now_ns) noexcept;
  /// Closes it and forgets the failures.
  void reset(std::int64_t now_ns) noexcept;
  /// Keeps it open until half_open(), however long that takes: its node is being restarted.
  void hold() noexcept { reopen_ns_ = kNever; }
  void half_open(std::int64_t now_ns) noexcept;

  [[nodiscard]] CircuitState state() const noexcept { return state_; }
  /// The time at which an open breaker becomes half-open.
  [[nodiscard]] std::int64_t reopens_at() const noexcept { return reopen_ns_; }
  [[nodiscard]] std::uint64_t opens() const noexcept { return opens_; }
  [[nodiscard]] std::uint64_t rejected() const noexcept { return rejected_; }
  /// How long it was open or half-open in all, in nanoseconds.
  [[nodiscard]] std::int64_t time_open(std::int64_t now_ns) const noexcept;
  [[nodiscard]] const CircuitConfig& config() const noexcept { return config_; }

 private:
  static constexpr std::int64_t kNever = INT64_MAX;
  void open(std::int64_t now_ns) noexcept;
  void note(bool failure) noexcept;
  [[nodiscard]] bool window_is_bad() const noexcept;

  CircuitConfig config_;
  CircuitState state_ = CircuitState::closed;
  std::uint32_t failures_ = 0;   // in a row
  std::uint32_t successes_ = 0;  // in a row, half-open
  std::uint32_t doublings_ = 0;
  std::vector<bool> window_;  // of the last ticks: failed?
  std::size_t window_at_ = 0;
  std::uint32_t window_failures_ = 0;
  std::int64_t reopen_ns_ = kNever;
  std::int64_t left_closed_ns_ = 0;
  std::int64_t open_ns_ = 0;  // of former times
  std::uint64_t opens_ = 0;
  std::uint64_t rejected_ = 0;
};

}  // namespace horus::HORUS_ABI
