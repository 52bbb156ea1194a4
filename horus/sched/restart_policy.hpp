// SPDX-License-Identifier: Apache-2.0
// When a failed node may restart, and how often. A state machine over times that the caller gives; one thread.
#pragma once

#include <cstdint>
#include <optional>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

struct RestartConfig {
  bool enabled = false;
  Duration first_delay{std::chrono::milliseconds(100)};  ///< before the first restart; doubles each time
  Duration longest_delay{std::chrono::seconds(10)};
  double jitter = 0.1;  ///< share of the delay that chance adds or takes away, 0 to 0.5
  /// After running this long, a node's next restart waits `first_delay` again.
  Duration healthy_after{std::chrono::seconds(60)};
  /// A node that still fails after `most` restarts within this time, counted from the first failure of the row, stays
  /// stopped.
  std::uint32_t most = 5;
  Duration within{std::chrono::seconds(60)};
  /// The node never stays stopped: for a device that is unplugged and comes back. It is then restarted after at most
  /// 10 s. A critical node that is not back within 3 x its watchdog (3 s without one) trips the emergency stop; the
  /// restarts continue after the reset.
  bool for_ever = false;
  static constexpr Duration kLongestForEver{std::chrono::seconds(10)};
};

/// Back-off and limits of restarts, as in Erlang's supervisors. Jitter keeps nodes from restarting at the same
/// moment.
class HORUS_API RestartPolicy {
 public:
  RestartPolicy(const RestartConfig& config, std::uint64_t seed) noexcept : config_(config), random_(seed) {}

  /// The node must restart: the wait before that. Nothing when it restarted too often and stays stopped.
  std::optional<Duration> next(std::int64_t now_ns);
  /// Tells the policy that the node has started again.
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

}  // namespace horus::HORUS_ABI
