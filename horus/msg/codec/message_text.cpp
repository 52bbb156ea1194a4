// SPDX-License-Identifier: Apache-2.0
// Text is JSON in another dress: one is rewritten as the other, and JSON's reader and writer know the message.
#include <horus/msg/message_text.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/format/ros_names.hpp>
#include <horus/msg/json.hpp>

namespace horus::HORUS_ABI {
namespace {

bool is_word(char c) { return msg::is_small(c) || msg::is_capital(c) || msg::is_digit(c) || c == '_'; }

// Text that nothing else is written as.
bool is_plain(std::string_view text) {
  if (text.empty() || msg::is_digit(text.front()) || (!is_word(text.front()) && text.front() != '/'))
    return false;
  for (const std::string_view taken : {"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
    if (text.size() == taken.size() &&
        std::equal(text.begin(), text.end(), taken.begin(),
                   [](char a, char b) { return (msg::is_capital(a) ? a - 'A' + 'a' : a) == b; }))
      return false;
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_word(c) || c == '/' || c == '.' || c == '-'; });
}

// --- From to_json's line -------------------------------------------------------------------------------------------------

class TextWriter {
 public:
  explicit TextWriter(std::string_view json) : json_(json) {}

  std::string run() {
    object(0, false);
    return std::move(out_);
  }

 private:
  char next() const { return json_[at_]; }
  void indent(std::size_t depth) { out_.append(2 * depth, ' '); }

  // The contents of a string, escapes as they are.
  std::string_view quoted() {
    const std::size_t first = ++at_;
    while (next() != '"') at_ += next() == '\\' ? 2 : 1;
    return json_.substr(first, at_++ - first);
  }
  void scalar() {
    if (next() == '"') {
      const std::string_view text = quoted();
      if (is_plain(text)) {
        out_ += text;
      } else {
        out_ += '"';
        out_ += text;
        out_ += '"';
      }
      return;
    }
    while (next() != ',' && next() != ']' && next() != '}') out_ += json_[at_++];
  }
  // `within`: its first line continues one.
  void object(std::size_t depth, bool within) {
    for (bool first = true; json_[at_++] != '}'; first = false) {  // behind { or ,
      if (next() == '}') continue;
      if (!first || !within) indent(depth);
      out_ += quoted();
      out_ += ':';
      ++at_;
      member(depth);
    }
  }
  void member(std::size_t depth) {
    if (next() == '{') {
      out_ += '\n';
      object(depth + 1, false);
    } else if (next() != '[') {
      out_ += ' ';
      scalar();
      out_ += '\n';
    } else if (json_[at_ + 1] == '{') {
      out_ += '\n';
      while (json_[at_++] != ']') {  // behind [ or ,
        indent(depth + 1);
        out_ += "- ";
        object(depth + 2, true);
      }
    } else {
      out_ += " [";
      while (json_[at_++] != ']') {
        if (next() == ']') continue;
        if (out_.back() != '[') out_ += ", ";
        scalar();
      }
      out_ += "]\n";
    }
  }

  std::string_view json_;
  std::size_t at_ = 0;
  std::string out_;
};

// --- To JSON -------------------------------------------------------------------------------------------------------------

struct TextProblem {
  std::size_t line;
  std::string why;
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return text;
}

// One line without indentation and comment.
struct TextLine {
  std::size_t number;
  std::size_t indent;
  std::string_view text;
};

std::string_view without_comment(std::string_view text) {
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && is_quoted) {
      ++i;
    } else if (text[i] == '"') {
      is_quoted = !is_quoted;
    } else if (text[i] == '#' && !is_quoted && (i == 0 || text[i - 1] == ' ' || text[i - 1] == '\t')) {
      return text.substr(0, i);
    }
  }
  return text;
}

std::vector<TextLine> lines_of(std::string_view text) {
  std::vector<TextLine> lines;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    line = trimmed(without_comment(line.substr(indent)));
    if (line.empty() || line == "---") continue;
    lines.push_back({number, indent, line});
  }
  return lines;
}

// As RFC 8259 has them.
bool is_number(std::string_view text) {
  const auto digits = [&] {
    const std::size_t size = std::min(text.find_first_not_of("0123456789"), text.size());
    text.remove_prefix(size);
    return size > 0;
  };
  if (text.starts_with('-')) text.remove_prefix(1);
  const bool has_zero = text.starts_with('0');
  const std::size_t before = text.size();
  if (!digits() || (has_zero && before - text.size() > 1)) return false;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    if (!digits()) return false;
  }
  if (text.starts_with('e') || text.starts_with('E')) {
    text.remove_prefix(1);
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (!digits()) return false;
  }
  return text.empty();
}

class TextReader {
 public:
  explicit TextReader(std::string_view text) : lines_(lines_of(text)) {}

  std::string run() {
    if (lines_.empty()) return "{}";
    block(lines_.front().indent, 0);
    if (at_ < lines_.size()) fail("it is indented less than the first line");
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(std::string why) const {
    throw TextProblem{lines_[std::min(at_, lines_.size() - 1)].number, std::move(why)};
  }
  [[nodiscard]] bool is_item() const {
    const std::string_view text = lines_[at_].text;
    return text == "-" || text.starts_with("- ");
  }
  // Bytes of the name before a colon; 0: none is there.
  static std::size_t name_of(std::string_view text) {
    const std::size_t size =
        static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_word) - text.begin());
    const bool is_name = size > 0 && size < text.size() && text[size] == ':' &&
                         (size + 1 == text.size() || text[size + 1] == ' ');
    return is_name ? size : 0;
  }

  void block(std::size_t indent, std::size_t depth) {
    if (depth > kMostJsonDepth) fail("lists and structs within each other, more than 64 deep");
    if (is_item()) {
      list(indent, depth);
    } else {
      object(indent, depth);
    }
    if (at_ < lines_.size() && lines_[at_].indent > indent)
      fail("it is indented more than the line before asks for");
  }
  void object(std::size_t indent, std::size_t depth) {
    out_ += '{';
    while (at_ < lines_.size() && lines_[at_].indent == indent && !is_item()) {
      const std::string_view text = lines_[at_].text;
      const std::size_t name = name_of(text);
      if (name == 0) fail("`name: value` is expected");
      if (out_.back() != '{') out_ += ',';
      out_ += fmt::format("\"{}\":", text.substr(0, name));
      const std::string_view rest = trimmed(text.substr(name + 1));
      if (!rest.empty()) {
        value(rest);
        ++at_;
        continue;
      }
      ++at_;
      const bool has_block =
          at_ < lines_.size() && (lines_[at_].indent > indent || (lines_[at_].indent == indent && is_item()));
      if (!has_block) {
        --at_;
        fail(
            "a value is expected behind the colon, or indented lines (\"\" is empty text, [] an empty list)");
      }
      block(lines_[at_].indent, depth + 1);
    }
    out_ += '}';
  }
  void list(std::size_t indent, std::size_t depth) {
    out_ += '[';
    while (at_ < lines_.size() && lines_[at_].indent == indent && is_item()) {
      if (out_.back() != '[') out_ += ',';
      TextLine& line = lines_[at_];
      const std::string_view rest = trimmed(line.text.substr(1));
      if (rest.empty()) {
        ++at_;
        if (at_ == lines_.size() || lines_[at_].indent <= indent) fail("a value is expected behind the -");
        block(lines_[at_].indent, depth + 1);
      } else if (name_of(rest) > 0) {
        line.indent += static_cast<std::size_t>(rest.data() - line.text.data());
        line.text = rest;
        block(line.indent, depth + 1);
      } else {
        value(rest);
        ++at_;
      }
    }
    out_ += ']';
  }

  void value(std::string_view text) {
    if (!text.starts_with('[')) {
      scalar(text);
      return;
    }
    if (!text.ends_with(']') || text.size() < 2) fail("a list ends with ]");
    text = trimmed(text.substr(1, text.size() - 2));
    out_ += '[';
    while (!text.empty()) {
      const std::size_t end = end_of_value(text);
      if (out_.back() != '[') out_ += ',';
      scalar(trimmed(text.substr(0, end)));
      if (end == text.size()) break;
      text = trimmed(text.substr(end + 1));
      if (text.empty()) fail("a value is expected behind the comma");
    }
    out_ += ']';
  }
  // At the next comma that is not in quotes.
  static std::size_t end_of_value(std::string_view text) {
    bool is_quoted = false;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\' && is_quoted) {
        ++i;
      } else if (text[i] == '"') {
        is_quoted = !is_quoted;
      } else if (text[i] == ',' && !is_quoted) {
        return i;
      }
    }
    return text.size();
  }
  void scalar(std::string_view text) {
    if (text.starts_with('"')) {
      std::size_t i = 1;
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      if (i + 1 != text.size()) fail("text in quotes ends with one, and nothing follows");
      out_ += text;
    } else if (text == "true" || text == "false" || is_number(text)) {
      out_ += text;
    } else if (text.empty() || text.starts_with('[') || text.starts_with('{')) {
      fail("a value is expected");
    } else {
      out_ += '"';
      for (const char c : text) {
        if (c == '"' || c == '\\') out_ += '\\';
        out_ += c;
      }
      out_ += '"';
    }
  }

  std::vector<TextLine> lines_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> to_text(const Description& description, std::span<const std::byte> head,
                            std::span<const std::byte> tail) {
  const auto json = to_json(description, head, tail);
  if (!json) return json.error();
  return TextWriter(*json).run();
}

Result<> from_text(const Description& description, std::string_view text, std::vector<std::byte>& head,
                   std::vector<std::byte>& tail) {
  if (text.size() > kMostJson)
    return Error(
        kBadInput, "read a message's text",
        fmt::format("{}: more than 64 MiB", description.types.empty() ? "" : description.root().name));
  try {
    const auto read = from_json(description, TextReader(text).run(), head, tail);
    if (!read) return read.error().on("read a message's text", read.error().target());
    return {};
  } catch (const TextProblem& problem) {
    return Error(kBadInput, "read a message's text", fmt::format("line {}: {}", problem.line, problem.why));
  }
}

}  // namespace horus::HORUS_ABI
