// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/json.hpp>

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

namespace horus::cli {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr int kMostNested = 256;

// How many bytes the character takes at the beginning; 0 when it is no UTF-8. RFC 3629.
std::size_t character_size(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = at(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0U) != 0x80U) return 0;
  }
  if (first == 0xE0 && at(1) < 0xA0) return 0;   // longer than needed
  if (first == 0xED && at(1) >= 0xA0) return 0;  // half of a pair of UTF-16
  if (first == 0xF0 && at(1) < 0x90) return 0;
  if (first == 0xF4 && at(1) >= 0x90) return 0;
  return size;
}

class JsonCheck {
 public:
  explicit JsonCheck(std::string_view text) : rest_(text) {}

  bool whole() {
    skip();
    if (!value(0)) return false;
    skip();
    return rest_.empty();
  }

 private:
  void skip() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool take(char letter) {
    if (rest_.empty() || rest_.front() != letter) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool word(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  bool digits() {
    const std::size_t count = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    rest_.remove_prefix(count);
    return count > 0;
  }
  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      return digits();
    }
    return true;
  }
  bool string() {
    if (!take('"')) return false;
    while (!rest_.empty()) {
      const auto letter = static_cast<unsigned char>(rest_.front());
      if (letter < 0x20) return false;
      if (take('"')) return true;
      if (take('\\')) {
        if (rest_.empty()) return false;
        const char kind = rest_.front();
        rest_.remove_prefix(1);
        if (kind == 'u') {
          if (rest_.substr(0, 4).find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos ||
              rest_.size() < 4)
            return false;
          rest_.remove_prefix(4);
        } else if (std::string_view("\"\\/bfnrt").find(kind) == std::string_view::npos) {
          return false;
        }
        continue;
      }
      const std::size_t size = character_size(rest_);
      if (size == 0) return false;
      rest_.remove_prefix(size);
    }
    return false;
  }
  bool value(int depth) {  // NOLINT(misc-no-recursion): kMostNested deep at most
    if (depth > kMostNested || rest_.empty()) return false;
    switch (rest_.front()) {
      case '{': return members('}', depth);
      case '[': return members(']', depth);
      case '"': return string();
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      default: return number();
    }
  }
  bool members(char end, int depth) {  // NOLINT(misc-no-recursion)
    rest_.remove_prefix(1);
    skip();
    if (take(end)) return true;
    while (true) {
      if (end == '}') {
        if (!string()) return false;
        skip();
        if (!take(':')) return false;
        skip();
      }
      if (!value(depth + 1)) return false;
      skip();
      if (take(end)) return true;
      if (!take(',')) return false;
      skip();
    }
  }

  std::string_view rest_;
};

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    if (size == 0) {
      out += kReplacement;
      text.remove_prefix(1);
      continue;
    }
    const auto letter = static_cast<unsigned char>(text.front());
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += text.front();
    } else if (letter < 0x20 || letter == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(letter));
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size);
  }
  return out + '"';
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    const auto letter = static_cast<unsigned char>(text.front());
    // C1 controls are two bytes: C2 80 to C2 9F.
    const bool control =
        letter < 0x20 || letter == 0x7F || (letter == 0xC2 && static_cast<unsigned char>(text[1]) < 0xA0);
    out += size == 0 || control ? kReplacement : text.substr(0, size);
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

bool is_json(std::string_view text) { return JsonCheck(text).whole(); }

}  // namespace horus::cli
