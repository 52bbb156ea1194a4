// SPDX-License-Identifier: Apache-2.0
// The controller as a node: a hundred steps a second, before everybody else. It computes and returns.
#pragma once

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
  }
  // Perhaps on another thread, while somebody blocks this one: the motors first, which here are one number.
  void enter_safe_state() noexcept override {
    world_.drive.speed_mps = 0;
    int64_t not_yet = 0;
    world_.faults.control_safe.ns.compare_exchange_strong(not_yet, horus::monotonic_ns());
  }

 private:
  World& world_;
  Controller controller_;
  int64_t last_ns_ = 0;
};

}  // namespace rover
