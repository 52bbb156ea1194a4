// SPDX-License-Identifier: Apache-2.0
// Which names hubs, topics and types may have: UTF-8, checked alike on every processor (`char` is signed on some).
// Pure functions; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::msg {

/// Well-formed UTF-8 without control characters (RFC 3629; C0, DEL and C1).
[[nodiscard]] HORUS_API bool is_text(std::string_view text) noexcept;
/// The same, not empty, of at most 255 bytes and without spaces: a topic.
[[nodiscard]] HORUS_API bool is_name(std::string_view text) noexcept;
/// Replaces what a log line or a terminal must not be given: control characters by spaces, broken UTF-8 by question marks.
HORUS_API void make_printable(std::string& text) noexcept;

}  // namespace horus::HORUS_ABI::msg
