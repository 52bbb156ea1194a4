// SPDX-License-Identifier: Apache-2.0
#include "faults.hpp"

#include <algorithm>

#include <fmt/format.h>

#include <horus/base/log.hpp>

namespace rover {

namespace {

// Of a drive; a short one leaves each fault the time to heal before the next strikes.
constexpr double kCameraAt = 0.1, kHealthAt = 0.25, kGpsAt = 0.5, kSpinAt = 0.8;
constexpr double kWatchdogShare = 0.05;
constexpr double kMostWatchdog_s = 1;
constexpr double kSilences = 2.5;  // watchdog times: warned after one, cancelled after two

horus::Duration seconds_of(double seconds) { return horus::Duration(static_cast<int64_t>(seconds * 1e9)); }

double in_seconds(horus::Duration duration) { return static_cast<double>(duration.count()) * 1e-9; }

}  // namespace

horus::Duration gps_watchdog_in(double seconds) {
  return seconds_of(std::min(seconds * kWatchdogShare, kMostWatchdog_s));
}

horus::Duration silence_in(double seconds) {
  return seconds_of(in_seconds(gps_watchdog_in(seconds)) * kSilences);
}

std::vector<Fault> fault_plan(double seconds) {
  const auto at = [seconds](double share) { return seconds_of(seconds * share); };
  return {
      {FaultKind::kCameraKilled, "camera program killed", "camera", at(kCameraAt)},
      {FaultKind::kHealthThrows, "health throws", "health", at(kHealthAt)},
      {FaultKind::kGpsSilent, fmt::format("GPS silent for {:.1f} s", in_seconds(silence_in(seconds))), "gps",
       at(kGpsAt)},
      {FaultKind::kLogSpins, fmt::format("log spins for {:.0f} ms", in_seconds(kSpin) * 1e3), "log",
       at(kSpinAt)},
  };
}

void Faults::begins(FaultKind kind, int64_t now_ns) {
  for (Fault& fault : plan) {
    if (fault.kind != kind || fault.struck_ns != 0) continue;
    fault.struck_ns = now_ns;
    horus::log_warning("fault: " + fault.what);
  }
}

}  // namespace rover
