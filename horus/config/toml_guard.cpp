// SPDX-License-Identifier: Apache-2.0
#include <horus/config/toml_guard.hpp>

#include <algorithm>
#include <cstddef>

#include <horus/config/document.hpp>
#include <horus/config/parsers.hpp>

namespace horus::HORUS_ABI::config {
namespace {

// The guard is worth something only as long as it and the parser agree on where strings begin and end. So it follows
// TOML's grammar for them to the letter, and refuses a quote wherever it could be read in two ways.
class Guard {
 public:
  explicit Guard(std::string_view text) : text_(text) {}

  void run() {
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text_.starts_with(kByteOrderMark)) at_ = kByteOrderMark.size();
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (c == '"' || c == '\'') {
        if (!string_may_begin_) throw Problem{line_, "a quote in the middle of a key or value"};
        skip_string(c);
        string_may_begin_ = false;
      } else {
        step(c);
        ++at_;
      }
    }
  }

 private:
  void step(char c) {
    if (static_cast<unsigned char>(c) >= 0x80)
      throw Problem{line_, "a character beyond ASCII outside of a string and a comment; quote it"};
    switch (c) {
      case ' ':
      case '\t':
      case '\r': return;
      case '\n': ++line_; [[fallthrough]];
      case '=':
      case ',':
        dots_ = 0;
        string_may_begin_ = true;
        break;
      case '[':
      case '{':
        dots_ = 0;
        ++brackets_;
        string_may_begin_ = true;
        break;
      case ']':
      case '}':
        dots_ = 0;
        brackets_ = std::max(0, brackets_ - 1);
        string_may_begin_ = false;
        break;
      case '.':
        ++dots_;
        string_may_begin_ = true;
        break;
      default: string_may_begin_ = false; break;
    }
    if (dots_ >= kMaxNesting || brackets_ > kMaxNesting) throw Problem{line_, too_deep()};
  }

  [[nodiscard]] std::size_t quotes_here(char quote, std::size_t most) const {
    std::size_t count = 0;
    while (count < most && at_ + count < text_.size() && text_[at_ + count] == quote) ++count;
    return count;
  }

  void skip_string(char quote) {
    const int begins = line_;
    const std::size_t opening = quotes_here(quote, 3);
    at_ += opening;
    if (opening == 2) return;  // an empty one
    const bool several_lines = opening == 3;
    while (at_ < text_.size()) {
      const char c = text_[at_];
      if (c == quote) {
        // A string of several lines may end in one or two quotes of its own: https://toml.io/en/v1.0.0#string
        const std::size_t quotes = quotes_here(quote, several_lines ? 5 : 1);
        at_ += quotes;
        if (!several_lines || quotes >= 3) return;
        continue;
      }
      if (c == '\n') {
        if (!several_lines) break;
        ++line_;
      }
      const bool escapes = c == '\\' && quote == '"' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n';
      at_ += escapes ? 2 : 1;
    }
    throw Problem{begins, "a string without its end"};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  int dots_ = 0;
  int brackets_ = 0;
  bool string_may_begin_ = true;
};

}  // namespace

void guard_toml(std::string_view text) { Guard(text).run(); }

}  // namespace horus::HORUS_ABI::config
