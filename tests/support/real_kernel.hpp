// SPDX-License-Identifier: Apache-2.0
// Test cases that by their nature need the kernel: other threads, other processes, loops that are not ours.
#pragma once

#include <cstdlib>
#include <string_view>

#include <doctest/doctest.h>

namespace horus::testing {

/// Reactors that do not ask for a certain backend get a simulated world: HORUS_IO=sim.
inline bool simulated() {
  const char* wish = std::getenv("HORUS_IO");
  return wish != nullptr && std::string_view(wish) == "sim";
}

}  // namespace horus::testing

/// First in a test case: leaves it out in simulation. `why` ends the sentence "needs the real kernel: …".
#define NEEDS_REAL_KERNEL(why)                                        \
  do {                                                                \
    if (horus::testing::simulated()) {                                \
      MESSAGE("left out in simulation, needs the real kernel: " why); \
      return;                                                         \
    }                                                                 \
  } while (false)
