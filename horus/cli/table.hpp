// SPDX-License-Identifier: Apache-2.0
// What people read on a terminal: columns, sizes, durations. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/clock.hpp>

namespace horus::cli {

using Rows = std::vector<std::vector<std::string>>;

/// Columns below each other, two blanks before each; the last one is not padded. Every letter must take one column.
std::string table(const Rows& rows);
/// "17 bytes", "1.5 KiB", "2.0 GiB".
std::string size_text(std::uint64_t bytes);
/// In its largest unit, two at most: "480 ms", "12.3 s", "4 min 10 s", "3 h 20 min", "2 d 3 h".
std::string duration_text(Duration duration);

}  // namespace horus::cli
