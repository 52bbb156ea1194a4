// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/restart_policy.hpp>

#include <algorithm>

namespace horus {
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
  while (!recent_.empty() && now_ns - recent_.front() >= config_.within.count()) recent_.pop_front();
  if (recent_.size() >= config_.most) return std::nullopt;
  if (now_ns - started_ns_ >= config_.healthy_after.count()) attempt_ = 0;
  const std::int64_t most = config_.longest_delay.count();
  std::int64_t delay = std::min(config_.first_delay.count(), most);
  for (std::uint32_t i = 0; i < attempt_ && delay < most; ++i) delay = delay > most / 2 ? most : delay * 2;
  ++attempt_;
  ++restarts_;
  recent_.push_back(now_ns);
  const double factor = 1 + config_.jitter * (2 * next_share(random_) - 1);
  return Duration(static_cast<std::int64_t>(static_cast<double>(delay) * factor));
}

}  // namespace horus
