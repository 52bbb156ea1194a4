// SPDX-License-Identifier: Apache-2.0
#include "controller.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace rover {

namespace {

constexpr double kRadians = std::numbers::pi / 180;
constexpr double kLongestStep_s = 0.2;
constexpr double kTrust = 0.2;  // of a fix against odometry

struct Waypoint {
  double east_m, north_m;
};
// A figure of eight around two trees.
constexpr std::array<Waypoint, 8> kRoute{
    {{4, 3}, {8, 0}, {4, -3}, {0, 0}, {-4, 3}, {-8, 0}, {-4, -3}, {0, 0}}};

}  // namespace

double turn_between(double from_deg, double to_deg) noexcept {
  const double turn = std::remainder(to_deg - from_deg, 360);
  return std::isfinite(turn) ? turn : 0;
}

void Controller::take_fix(const Gps& gps) noexcept {
  if (gps.epochs == epoch_ || !gps.fix.latitude_deg || !gps.fix.longitude_deg) return;
  epoch_ = gps.epochs;
  if (!origin_latitude_deg_) {
    origin_latitude_deg_ = gps.fix.latitude_deg;
    origin_longitude_deg_ = gps.fix.longitude_deg;
  }
  const double north = (*gps.fix.latitude_deg - *origin_latitude_deg_) * kMetresPerDegree;
  const double east = std::remainder(*gps.fix.longitude_deg - *origin_longitude_deg_, 360) *
                      kMetresPerDegree * std::cos(*origin_latitude_deg_ * kRadians);
  east_m_ += kTrust * (east - east_m_);
  north_m_ += kTrust * (north - north_m_);
}

double Controller::wanted_heading(World& world) noexcept {
  if (world.orders.heading_deg) return *world.orders.heading_deg;
  double east = kRoute[waypoint_].east_m - east_m_, north = kRoute[waypoint_].north_m - north_m_;
  if (std::hypot(east, north) < kReached_m) {
    ++world.drive.waypoints_reached;
    waypoint_ = (waypoint_ + 1) % kRoute.size();
    east = kRoute[waypoint_].east_m - east_m_;
    north = kRoute[waypoint_].north_m - north_m_;
  }
  return std::atan2(east, north) / kRadians;
}

void Controller::step(World& world, double seconds, int64_t now_ns) noexcept {
  seconds = std::clamp(seconds, 0.0, kLongestStep_s);
  take_fix(world.gps);
  Drive& drive = world.drive;
  const bool knows_where = origin_latitude_deg_.has_value() &&
                           static_cast<double>(now_ns - world.gps.last_position_ns) < kPatience_s * 1e9;
  const double turn = turn_between(drive.heading_deg, wanted_heading(world));
  double speed = world.orders.stopped || !knows_where ? 0 : world.orders.speed_mps;
  speed *= std::max(0.3, std::cos(std::clamp(turn, -90.0, 90.0) * kRadians));  // slower around the corner

  const double change = kAcceleration_mps2 * seconds;
  drive.speed_mps += std::clamp(speed - drive.speed_mps, -change, change);
  if (drive.speed_mps > 0) {
    const double most = kTurnRate_degps * seconds;
    drive.heading_deg = std::fmod(drive.heading_deg + std::clamp(turn * 3 * seconds, -most, most) + 360, 360);
  }
  const double way = drive.speed_mps * seconds;
  const double east = way * std::sin(drive.heading_deg * kRadians),
               north = way * std::cos(drive.heading_deg * kRadians);
  drive.east_m += east;
  drive.north_m += north;
  drive.distance_m += way;
  east_m_ += east;
  north_m_ += north;
}

}  // namespace rover
