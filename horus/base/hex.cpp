// SPDX-License-Identifier: Apache-2.0
#include <horus/base/hex.hpp>

#include <charconv>
#include <system_error>

namespace horus::HORUS_ABI {

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string digits;
  digits.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    digits += kDigits[std::to_integer<unsigned>(byte) >> 4];
    digits += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return digits;
}

std::optional<std::vector<std::byte>> from_hex(std::string_view digits) {
  if (digits.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes(digits.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    unsigned value = 0;
    const char* end = digits.data() + 2 * i + 2;
    const auto [rest, problem] = std::from_chars(end - 2, end, value, 16);
    if (problem != std::errc() || rest != end) return std::nullopt;
    bytes[i] = static_cast<std::byte>(value);
  }
  return bytes;
}

}  // namespace horus::HORUS_ABI
