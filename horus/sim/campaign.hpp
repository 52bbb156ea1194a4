// SPDX-License-Identifier: Apache-2.0
// Runs many seeds of one scenario on all CPUs; reproduces a failure, reduces it, and draws its timeline.
#pragma once

#include <functional>
#include <string>

#include <horus/base/export.hpp>
#include <horus/sim/world.hpp>

namespace horus::HORUS_ABI::sim {

/// Builds a world and runs it: adds processes, promises and faults, then calls `run_for` once.
using Scenario = std::function<void(World&)>;

/// The main function of a program that simulates `scenario` for many seeds.
///
/// Semantics: worker processes, one per CPU, take seeds in turn; a seed that crashes its worker is a failure as well.
/// Each of the first few failures is run again with fewer and fewer of `World::swarm`'s faults as long as it still
/// fails. It gets one line that reproduces it, and a timeline picture.
/// Arguments: `--seeds N` (HORUS_SIM_SEEDS, else 1000), `--first N`, `--jobs N`, `--limit SECONDS` of real time for
/// one seed, `--seed N [--without 1,4]` to run a single seed, `--timeline FILE`, `--help`.
/// Returns 0 when all passed, 1 otherwise, 2 for wrong arguments.
/// Example: `int main(int argc, char** argv) { return horus::sim::run_campaign(argc, argv, "rover", drive); }`
HORUS_API int run_campaign(int argc, char** argv, const std::string& name, const Scenario& scenario);

}  // namespace horus::HORUS_ABI::sim
