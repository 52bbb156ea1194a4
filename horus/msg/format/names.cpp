// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/format/names.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kLongestTopic = 255;

struct Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;  // 0: broken
};

// https://www.rfc-editor.org/rfc/rfc3629: no overlong forms, no surrogates, nothing beyond U+10FFFF.
Character first_of(std::string_view text) noexcept {
  const auto byte = [&](std::size_t at) { return static_cast<std::uint8_t>(text[at]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t code = lead & (0x7fU >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kLeast[bytes] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, bytes};
}

bool is_control(std::uint32_t code) noexcept { return code < ' ' || (code >= 0x7f && code < 0xa0); }

}  // namespace

bool is_text(std::string_view text) noexcept {
  while (!text.empty()) {
    const Character next = first_of(text);
    if (next.bytes == 0 || is_control(next.code)) return false;
    text.remove_prefix(next.bytes);
  }
  return true;
}

bool is_name(std::string_view text) noexcept {
  return !text.empty() && text.size() <= kLongestTopic && text.find(' ') == std::string_view::npos &&
         is_text(text);
}

void make_printable(std::string& text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const Character next = first_of(std::string_view(text).substr(at));
    if (next.bytes == 0) {
      text[at++] = '?';
      continue;
    }
    if (is_control(next.code)) std::fill_n(text.begin() + static_cast<std::ptrdiff_t>(at), next.bytes, ' ');
    at += next.bytes;
  }
}

}  // namespace horus::HORUS_ABI::msg
