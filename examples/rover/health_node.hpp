// SPDX-License-Identifier: Apache-2.0
// The machine's health, twice a second: load, memory and temperature from /proc and /sys.
#pragma once

#include <horus/horus.hpp>

#include "inputs.hpp"
#include "world.hpp"

namespace rover {

class HealthNode : public horus::Node {
 public:
  explicit HealthNode(World& world) : Node("health"), world_(world) {}

  horus::Task<> tick() override;

 private:
  World& world_;
  HealthInput input_;
  bool has_thermometer_ = true;
};

}  // namespace rover
