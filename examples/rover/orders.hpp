// SPDX-License-Identifier: Apache-2.0
// Commands as text: `speed 1.2`, `heading 90`, `route`, `stop`, `go`, `status`. Anybody may send them, so nothing in
// them is trusted. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "world.hpp"

namespace rover {

inline constexpr size_t kLongestCommand = 128;  // bytes
inline constexpr double kFastest_mps = 3;

/// Obeys one command, and gives the answer for whoever sent it: "ok speed 1.2 m/s", or why not.
std::string obey(World& world, std::string_view command, int64_t now_ns);

}  // namespace rover
