// SPDX-License-Identifier: Apache-2.0
// What a run came to, for people.
#include <string>

#include <fmt/format.h>

#include <horus/sim/world/world_state.hpp>

namespace horus::HORUS_ABI::sim {

std::string detail::seconds_of(Duration time) {
  return fmt::format("{:.6f} s", static_cast<double>(time.count()) / 1e9);
}

using detail::seconds_of;

std::string Report::to_string() const {
  std::string text = fmt::format("seed {}: {}", seed, passed ? "passed" : "FAILED " + failure);
  text += fmt::format("\n  {} simulated in {} ({:.0f} times as fast), {} turns, trace {:016x}",
                      seconds_of(virtual_time), seconds_of(real_time), speed(), turns, trace_hash);
  for (const std::string& one : faults) text += "\n  " + one;
  if (faults_fired > faults.size()) text += fmt::format("\n  and {} more", faults_fired - faults.size());
  return text;
}

}  // namespace horus::HORUS_ABI::sim
