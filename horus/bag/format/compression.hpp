// SPDX-License-Identifier: Apache-2.0
// Packs and unpacks the bytes of chunks. Internal; any thread, each call on its own.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <horus/bag/format/buffer.hpp>

namespace horus::HORUS_ABI::bag {

/// Appends `bytes` to `out`, packed by zstd. False when it does not save `least_saving` hundredths: `out` is as before then.
[[nodiscard]] bool pack(std::span<const std::byte> bytes, int level, unsigned least_saving, Buffer& out);

/// Whether `packed` may unpack to `size` bytes, as far as can be told without memory for them; nullptr, or what is wrong.
[[nodiscard]] const char* check_size(std::string_view compression, std::span<const std::byte> packed,
                                     std::uint64_t size) noexcept;

/// Fills `out`, whose size is that of the unpacked bytes. No more is ever unpacked. Gives what is wrong, nullptr for nothing;
/// `compression` is "", "zstd" or "lz4".
[[nodiscard]] const char* unpack(std::string_view compression, std::span<const std::byte> packed,
                                 std::span<std::byte> out) noexcept;

}  // namespace horus::HORUS_ABI::bag
