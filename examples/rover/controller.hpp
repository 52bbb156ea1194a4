// SPDX-License-Identifier: Apache-2.0
// Steers along waypoints or a commanded heading, and moves the simulated rover. Plain values; the control node calls
// it a hundred times a second.
#pragma once

#include <cstdint>
#include <optional>

#include "world.hpp"

namespace rover {

/// A heading controller over the latest fix, and the rover that obeys it.
///
/// It knows its position from the GPS alone, a little smoothed, and goes on by odometry between two fixes. Without a
/// fix for kPatience_s it stops.
class Controller {
 public:
  static constexpr double kPatience_s = 3;
  static constexpr double kTurnRate_degps = 60;
  static constexpr double kAcceleration_mps2 = 1.5;
  static constexpr double kReached_m = 1.0;

  /// One step of `seconds` (bounded to 0.2).
  void step(World& world, double seconds, int64_t now_ns) noexcept;

 private:
  void take_fix(const Gps& gps) noexcept;
  double wanted_heading(World& world) noexcept;

  std::optional<double> origin_latitude_deg_, origin_longitude_deg_;  // of the first fix
  uint64_t epoch_ = 0;
  double east_m_ = 0, north_m_ = 0;  // where it believes to be, from the first fix
  size_t waypoint_ = 0;
};

/// Difference of two headings, -180 to 180.
double turn_between(double from_deg, double to_deg) noexcept;

}  // namespace rover
