// SPDX-License-Identifier: Apache-2.0
// What became of each fault, as the scheduler's timeline tells it. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <horus/sched/timeline.hpp>

#include "faults.hpp"

namespace rover {

struct FaultOutcome {
  std::string what;
  std::string noticed_by;                   // empty: by nobody
  std::optional<int64_t> noticed_after_ns;  // from the fault
  std::optional<int64_t> healed_after_ns;   // until the node ticks well again, its circuit closed
  uint64_t control_ticks = 0,
           control_grid_points = 0;  // of the controller, from the fault until it was healed
  uint64_t control_late = 0;         // grid points that it lost because the loop came late
  bool burst = false;                // it ran faster than its grid to catch up
  uint64_t others_failed = 0;        // failed ticks of nodes that no fault had struck

  bool overcome() const noexcept {
    return noticed_after_ns && healed_after_ns && !burst && others_failed == 0;
  }
};

/// One for each fault of the plan that has struck.
std::vector<FaultOutcome> fault_outcomes(const std::vector<Fault>& plan, const horus::Timeline& timeline);

/// A line for each; 79 columns at most.
std::string fault_table(const std::vector<FaultOutcome>& outcomes, bool colours);

}  // namespace rover
