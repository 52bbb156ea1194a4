// SPDX-License-Identifier: Apache-2.0
// Single values of JSON. Pure functions; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>

#include <fmt/format.h>

namespace horus::HORUS_ABI::msg {

/// How many bytes the first character has that RFC 3629 allows; 0: it is broken.
inline std::size_t character_bytes(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  for (std::size_t i = 1; i < bytes; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  const std::uint8_t second = byte(1);
  const bool is_wrong = (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ||
                        (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f);
  return is_wrong ? 0 : bytes;
}

/// With its quotation marks. Bytes that are no UTF-8 become U+FFFD.
inline void append_json_text(std::string& out, std::string_view value) {
  out += '"';
  while (!value.empty()) {
    const std::size_t bytes = character_bytes(value);
    const char c = value.front();
    if (bytes == 0) {
      out += "\xef\xbf\xbd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += value.substr(0, bytes);
    }
    value.remove_prefix(std::max<std::size_t>(bytes, 1));
  }
  out += '"';
}

/// As many digits as are needed to read the same again; what JSON does not have is "nan", "inf" or "-inf".
template <class N>
void append_json_real(std::string& out, N value) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(out), "{}", value);
  } else {
    out += std::isnan(value) ? "\"nan\"" : value > 0 ? "\"inf\"" : "\"-inf\"";
  }
}

}  // namespace horus::HORUS_ABI::msg
