// SPDX-License-Identifier: Apache-2.0
// Where two messages differ. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace horus::cli {

/// What makes no difference.
struct ValueRules {
  double tolerance = 0;                                            ///< between numbers
  std::function<bool(const std::string& path)> ignores = nullptr;  ///< a value and all within it; empty: none
};

/// The first difference, and how many there are.
struct ValueDiff {
  std::uint64_t count = 0;
  std::string path;  ///< "pose.position.x", "ranges[3]"; empty: the whole message
  std::string a;     ///< as JSON; empty: it is not there
  std::string b;
};

/// Compares what two texts of JSON say; both must be JSON. The order of names does not count, and 1 is 1.0.
ValueDiff diff_values(std::string_view a, std::string_view b, const ValueRules& rules);

}  // namespace horus::cli
