// SPDX-License-Identifier: Apache-2.0
// The two formats behind Document. `text` is UTF-8 without control characters. Any thread. Internal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <horus/base/result.hpp>
#include <horus/config/tree.hpp>

namespace horus::HORUS_ABI::config {

/// A problem in a file, while it is parsed.
struct Problem {
  int line = 0;  ///< from 1; 0: of the whole file
  std::string text;
};

/// Both throw Problem; the value is a Section.
Value parse_toml(std::string_view text);
Value parse_yaml(std::string_view text);

}  // namespace horus::HORUS_ABI::config
