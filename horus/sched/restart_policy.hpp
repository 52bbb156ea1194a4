// SPDX-License-Identifier: Apache-2.0
// When a node that failed may begin anew, and how often. A state machine over times that the caller gives; one thread.
#pragma once

#include <cstdint>
#include <optional>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus {

struct RestartConfig {
  bool enabled = false;
  Duration first_delay{std::chrono::milliseconds(100)};  ///< before the first restart; doubles each time
  Duration longest_delay{std::chrono::seconds(10)};
  double jitter = 0.1;                               ///< share of the delay, either way, 0 to 0.5
  Duration healthy_after{std::chrono::seconds(60)};  ///< a life so long makes the next delay the first again
  /// A node that still fails after so many restarts, and so long after the first failure of the row, stays stopped.
  std::uint32_t most = 5;
  Duration within{std::chrono::seconds(60)};
  /// It never stays stopped: for a device that is unplugged and comes back. At most every 10 s then. A critical node that
  /// is not back within 3 x its watchdog (3 s without one) trips the emergency stop; the restarts go on after the reset.
  bool for_ever = false;
  static constexpr Duration kLongestForEver{std::chrono::seconds(10)};
};

/// Back-off and intensity of restarts (Erlang's supervisors; jitter against nodes that restart in step).
class HORUS_API RestartPolicy {
 public:
  RestartPolicy(const RestartConfig& config, std::uint64_t seed) noexcept : config_(config), random_(seed) {}

  /// The node must begin anew: how long to wait first. Nothing: it did so too often, and shall stay stopped.
  std::optional<Duration> next(std::int64_t now_ns);
  /// Its new life has begun.
  void started(std::int64_t now_ns) noexcept {
    started_ns_ = now_ns;
    lives_ = true;
  }
  [[nodiscard]] std::uint64_t restarts() const noexcept { return restarts_; }
  [[nodiscard]] const RestartConfig& config() const noexcept { return config_; }

 private:
  RestartConfig config_;
  std::uint64_t random_;
  std::uint32_t attempt_ = 0;  // of the row of failures
  std::int64_t row_began_ns_ = 0;
  std::int64_t started_ns_ = 0;
  bool lives_ = false;
  std::uint64_t restarts_ = 0;
};

}  // namespace horus
