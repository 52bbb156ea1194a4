// SPDX-License-Identifier: Apache-2.0
#include <horus/base/crc32c.hpp>

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace horus {
namespace {

constexpr std::uint32_t kPolynomial = 0x82f63b78;  // reflected

constexpr std::array<std::uint32_t, 256> kTable = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
    table[i] = value;
  }
  return table;
}();

using Bytes = std::span<const std::byte>;

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) std::uint32_t by_instruction(Bytes bytes, std::uint32_t before) noexcept {
  std::uint64_t value = ~before;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    value = _mm_crc32_u64(value, word);
  }
  auto narrow = static_cast<std::uint32_t>(value);
  for (; left > 0; ++at, --left) narrow = _mm_crc32_u8(narrow, static_cast<std::uint8_t>(*at));
  return ~narrow;
}
bool has_instruction() noexcept { return __builtin_cpu_supports("sse4.2") != 0; }

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)

std::uint32_t by_instruction(Bytes bytes, std::uint32_t before) noexcept {
  std::uint32_t value = ~before;
  const std::byte* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    value = __crc32cd(value, word);
  }
  for (; left > 0; ++at, --left) value = __crc32cb(value, static_cast<std::uint8_t>(*at));
  return ~value;
}
bool has_instruction() noexcept { return true; }

#else

std::uint32_t by_instruction(Bytes bytes, std::uint32_t before) noexcept {
  return detail::crc32c_by_table(bytes, before);
}
bool has_instruction() noexcept { return false; }

#endif

}  // namespace

std::uint32_t detail::crc32c_by_table(Bytes bytes, std::uint32_t before) noexcept {
  std::uint32_t value = ~before;
  for (const std::byte byte : bytes)
    value = kTable[(value ^ static_cast<std::uint8_t>(byte)) & 0xff] ^ (value >> 8);
  return ~value;
}

std::uint32_t crc32c(Bytes bytes, std::uint32_t before) noexcept {
  static const bool fast = has_instruction();
  return fast ? by_instruction(bytes, before) : detail::crc32c_by_table(bytes, before);
}

}  // namespace horus
