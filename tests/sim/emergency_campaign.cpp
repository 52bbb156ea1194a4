// SPDX-License-Identifier: Apache-2.0
// Emergency stops at random instants: emergency_scenario.hpp. `./dev sim` runs it for many seeds.
#include <horus/sim/campaign.hpp>

#include "emergency_scenario.hpp"

int main(int argc, char** argv) {
  return horus::sim::run_campaign(argc, argv, "emergency", [](horus::sim::World& world) {
    emergency_scenario::emergency(world, emergency_scenario::Planted::nothing);
  });
}
