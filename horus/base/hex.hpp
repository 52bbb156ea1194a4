// SPDX-License-Identifier: Apache-2.0
// Bytes as hexadecimal digits, and back. Pure functions; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

/// Two lower-case digits for each byte.
HORUS_API std::string to_hex(std::span<const std::byte> bytes);
/// Nothing for a text that is not pairs of digits.
HORUS_API std::optional<std::vector<std::byte>> from_hex(std::string_view digits);

}  // namespace horus::HORUS_ABI
