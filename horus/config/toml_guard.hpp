// SPDX-License-Identifier: Apache-2.0
// A look at a TOML file before its parser sees it. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string_view>

namespace horus::HORUS_ABI::config {

/// Refuses what toml++ must not meet. It recurses once for each part of a dotted key, and destroys what it made in the
/// same way: a megabyte of "a.a.a." would end the program. And toml++ 3.3 does not expect some letters (U+FB26 to
/// U+FEFE) where TOML has none.
///
/// `text` is UTF-8 without control characters. Throws Problem.
void guard_toml(std::string_view text);

}  // namespace horus::HORUS_ABI::config
