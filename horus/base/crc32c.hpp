// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), by the processor's own instruction where it has one. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

/// The checksum of `bytes`; with `before`, of what had that checksum followed by `bytes`.
/// Source: RFC 3720, appendix B.4 (test vectors).
[[nodiscard]] HORUS_API std::uint32_t crc32c(std::span<const std::byte> bytes,
                                             std::uint32_t before = 0) noexcept;

namespace detail {

/// The same from a table: what processors without the instruction use.
[[nodiscard]] HORUS_API std::uint32_t crc32c_by_table(std::span<const std::byte> bytes,
                                                      std::uint32_t before = 0) noexcept;

/// The same by the instruction alone, a word at a time: what processors without wide products use.
[[nodiscard]] HORUS_API std::uint32_t crc32c_by_words(std::span<const std::byte> bytes,
                                                      std::uint32_t before = 0) noexcept;

}  // namespace detail
}  // namespace horus::HORUS_ABI
