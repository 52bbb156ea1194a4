// SPDX-License-Identifier: Apache-2.0
// Time in Horus: CLOCK_MONOTONIC in nanoseconds. Jumps of the wall clock have no effect. Any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <chrono>
#include <cstdint>
#include <ctime>

namespace horus::HORUS_ABI {

using Duration = std::chrono::nanoseconds;

/// A point on CLOCK_MONOTONIC, nanoseconds; the same scale as steady_clock.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// Later than every deadline: "no deadline".
inline constexpr std::int64_t kNever = INT64_MAX;

/// The kernel's monotonic clock. Code above horus/io asks its reactor instead (`horus::now()`), which a simulator
/// can answer.
inline std::int64_t monotonic_ns() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

/// `base + delta` without overflow; a sum that is too large becomes kNever.
inline std::int64_t saturating_add(std::int64_t base_ns, std::int64_t delta_ns) noexcept {
  std::int64_t sum;
  return __builtin_add_overflow(base_ns, delta_ns, &sum) ? (delta_ns > 0 ? kNever : 0) : sum;
}

}  // namespace horus::HORUS_ABI
