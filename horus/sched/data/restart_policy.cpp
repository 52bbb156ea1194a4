// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/restart_policy.hpp>

#include <algorithm>

namespace horus::HORUS_ABI {
namespace {

// Sebastiano Vigna's SplitMix64: one number in [0, 1).
double next_share(std::uint64_t& state) noexcept {
  std::uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

}  // namespace

std::optional<Duration> RestartPolicy::next(std::int64_t now_ns) {
  // A node whose init() fails has not lived, however long it has been trying.
  const bool was_healthy = lives_ && now_ns - started_ns_ >= config_.healthy_after.count();
  lives_ = false;
  if (attempt_ == 0 || was_healthy) {
    attempt_ = 0;
    row_began_ns_ = now_ns;
  }
  if (!config_.for_ever && attempt_ >= config_.most && now_ns - row_began_ns_ >= config_.within.count())
    return std::nullopt;
  const Duration longest = config_.for_ever ? std::min(config_.longest_delay, RestartConfig::kLongestForEver)
                                            : config_.longest_delay;
  const std::int64_t most = longest.count();
  std::int64_t delay = std::min(config_.first_delay.count(), most);
  for (std::uint32_t i = 0; i < attempt_ && delay < most; ++i) delay = delay > most / 2 ? most : delay * 2;
  ++attempt_;
  ++restarts_;
  const double factor = 1 + config_.jitter * (2 * next_share(random_) - 1);
  return Duration(static_cast<std::int64_t>(static_cast<double>(delay) * factor));
}

}  // namespace horus::HORUS_ABI
