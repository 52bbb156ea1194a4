// SPDX-License-Identifier: Apache-2.0
//
// The version of the library that the program runs with. Any thread may ask.
#pragma once

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

/// "major.minor.patch" of the loaded library; the text lives as long as the program.
HORUS_API const char* version() noexcept;

}  // namespace horus::HORUS_ABI
