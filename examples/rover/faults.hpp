// SPDX-License-Identifier: Apache-2.0
// What goes wrong on purpose with --faults, and when. Plain values; the scheduler's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/clock.hpp>

namespace rover {

enum class FaultKind : uint8_t { kCameraKilled, kHealthThrows, kGpsSilent, kLogSpins };

struct Fault {
  FaultKind kind = FaultKind::kCameraKilled;
  std::string what;
  std::string node;       // whom it strikes
  horus::Duration at{0};  // since the start of the drive
  int64_t struck_ns = 0;  // 0: not yet
};

/// Written by one thread and read by another.
struct Instant {
  std::atomic<int64_t> ns{0};  // 0: not yet
  Instant() = default;
  Instant(const Instant& other) noexcept : ns(other.ns.load()) {}
  Instant& operator=(const Instant& other) noexcept {
    ns = other.ns.load();
    return *this;
  }
};

/// The faults of a drive, and what those that play them have to know.
struct Faults {
  Instant control_safe;       // its hook may run on another thread, beside whoever spins
  std::vector<Fault> plan;    // in order of time; empty: an ordinary drive
  int64_t stop_reset_ns = 0;  // of the emergency stop
  int64_t receiver_silent_until_ns = 0;
  bool health_is_broken = false;
  bool log_spins = false;

  /// Notes that it has begun, and says so once.
  void begins(FaultKind kind, int64_t now_ns);
};

inline constexpr double kLeastFaultSeconds = 6, kMostFaultSeconds = 60;  // of a drive with faults
inline constexpr horus::Duration kSpin = std::chrono::milliseconds(300);

/// All four, spread over a drive.
std::vector<Fault> fault_plan(double seconds);
/// How long the receiver says nothing then, and the watchdog time of the node that hears it.
horus::Duration silence_in(double seconds);
horus::Duration gps_watchdog_in(double seconds);

}  // namespace rover
