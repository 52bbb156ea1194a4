// SPDX-License-Identifier: Apache-2.0
// How far this process's monotonic clock is from those of other processes on the machine: another time namespace has
// another one. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <optional>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::msg {

inline constexpr std::int64_t kUnknownOffset = INT64_MIN;

/// Nanoseconds that CLOCK_MONOTONIC of this process is ahead of the machine's; kUnknownOffset where the system does not
/// tell. Source: time_namespaces(7).
HORUS_API std::int64_t clock_offset() noexcept;
/// The same from the contents of /proc/self/timens_offsets.
[[nodiscard]] HORUS_API std::int64_t parse_clock_offset(std::string_view text) noexcept;
/// What is to be added to times of a process with the offset `theirs`, to have those of one with `ours`.
[[nodiscard]] HORUS_API std::int64_t clock_shift(std::int64_t theirs, std::int64_t ours) noexcept;
/// A message's stamp by our clock; see Arrival::stamp_ns. Where the shift is not known, the message came at `now_ns`.
[[nodiscard]] HORUS_API std::int64_t shifted(std::int64_t stamp_ns, std::int64_t shift,
                                             std::int64_t now_ns) noexcept;

}  // namespace horus::HORUS_ABI::msg
