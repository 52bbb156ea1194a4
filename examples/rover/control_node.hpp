// SPDX-License-Identifier: Apache-2.0
// The controller as a node: a hundred steps a second, before everybody else. It computes and returns.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include <horus/horus.hpp>

#include "controller.hpp"
#include "world.hpp"

namespace rover {

inline constexpr horus::Rate kControlRate{100};

class ControlNode : public horus::PlainNode {
 public:
  explicit ControlNode(World& world) : PlainNode("control"), world_(world) {}

  void init() override { last_ns_ = horus::now_ns(); }
  void tick() override {
    const int64_t now = horus::now_ns();
    controller_.step(world_, static_cast<double>(now - last_ns_) * 1e-9, now);
    last_ns_ = now;
    publish(now);
  }
  // Perhaps on another thread, while somebody blocks this one: the motors first, which here are one number.
  void enter_safe_state() noexcept override {
    world_.drive.speed_mps = 0;
    int64_t not_yet = 0;
    world_.faults.control_safe.ns.compare_exchange_strong(not_yet, horus::monotonic_ns());
  }

 private:
  // ROS' axes: x east, y north, angles from the east counter-clockwise.
  void publish(int64_t now_ns) {
    const Drive& drive = world_.drive;
    const double half_yaw = (90 - drive.heading_deg) * std::numbers::pi / 360;
    horus::messages::Odometry odometry;
    odometry.header.stamp_ns = now_ns;
    odometry.header.set_frame("odom");
    odometry.child_frame_id.set("base_link");
    odometry.pose.pose.position = {.x = drive.east_m, .y = drive.north_m};
    odometry.pose.pose.orientation = {.z = std::sin(half_yaw), .w = std::cos(half_yaw)};
    odometry.twist.twist.linear.x = drive.speed_mps;
    odometry_.send(odometry);
  }

  World& world_;
  Controller controller_;
  int64_t last_ns_ = 0;
  horus::Publisher<horus::messages::Odometry> odometry_ = advertise<horus::messages::Odometry>("odometry");
};

}  // namespace rover
