// SPDX-License-Identifier: Apache-2.0
// YAML by yaml-cpp, which stays in this file. Its events are taken, not its nodes: so every limit holds while the file is
// read, and keys that stand twice are seen.
#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/config/document.hpp>
#include <horus/config/parsers.hpp>

#ifdef HORUS_WITH_YAML
#include <sstream>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>
#endif

namespace horus::HORUS_ABI::config {

#ifdef HORUS_WITH_YAML

namespace {

template <class Number>
bool parse_number(std::string_view text, Number& number, int base [[maybe_unused]] = 10) {
  const char* const begin = std::to_address(text.begin());
  const char* const end = std::to_address(text.end());
  std::from_chars_result result{};
  if constexpr (std::is_integral_v<Number>) {
    result = std::from_chars(begin, end, number, base);
  } else {
    result = std::from_chars(begin, end, number);
  }
  return result.ec == std::errc() && result.ptr == end;
}

// The core schema: https://yaml.org/spec/1.2.2/#103-core-schema
decltype(Value::is) resolve(const std::string& text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  std::string_view digits = text;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  const std::string_view magnitude = digits.starts_with('-') ? digits.substr(1) : digits;
  if (magnitude.empty() || !((magnitude[0] >= '0' && magnitude[0] <= '9') || magnitude[0] == '.'))
    return text;
  std::int64_t integer = 0;
  if (text.starts_with("0x") && parse_number(digits.substr(2), integer, 16)) return integer;
  if (text.starts_with("0o") && parse_number(digits.substr(2), integer, 8)) return integer;
  if (parse_number(digits, integer)) return integer;
  double number = 0;
  if (parse_number(digits, number)) return number;
  return text;
}

class Builder final : public YAML::EventHandler {
 public:
  [[nodiscard]] bool complete() const noexcept { return complete_; }
  [[nodiscard]] Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (std::exchange(started_, true))
      throw Problem{mark.line + 1, "a second document begins; one is all there may be"};
  }
  void OnDocumentEnd() override { complete_ = true; }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    plain(mark, anchor, "?");
    if (expects_key()) throw Problem{mark.line + 1, "a key is missing"};
    add({mark.line + 1, Nothing{}});
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Problem{mark.line + 1, "anchors and aliases are not taken here: write it out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    plain(mark, anchor, tag);
    if (expects_key()) return begin_entry(mark, value);
    Value added{mark.line + 1, value};
    if (tag == "?") added.is = resolve(value);
    add(std::move(added));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    plain(mark, anchor, tag);
    open({mark.line + 1, List{}});
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    plain(mark, anchor, tag);
    open({mark.line + 1, Section{}});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Value value;
    bool has_key = false;  // of a section: its last entry waits for its value
  };

  static void plain(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
    if (anchor != YAML::NullAnchor)
      throw Problem{mark.line + 1, "anchors and aliases are not taken here: write it out"};
    if (!tag.empty() && tag != "?" && tag != "!")
      throw Problem{mark.line + 1, "tags are not taken here: " + in_quotes(tag)};
  }
  [[nodiscard]] bool expects_key() const {
    return !open_.empty() && !open_.back().has_key && std::holds_alternative<Section>(open_.back().value.is);
  }
  void begin_entry(const YAML::Mark& mark, const std::string& key) {
    auto& section = std::get<Section>(open_.back().value.is);
    if (const Entry* same = find(section, key); same != nullptr) {
      throw Problem{mark.line + 1, fmt::format("the key {} stands here twice, first in line {}",
                                               in_quotes(key), same->line)};
    }
    section.push_back({key, mark.line + 1, {}});
    open_.back().has_key = true;
  }
  void open(Value value) {
    if (expects_key()) throw Problem{value.line, "a key must be text"};
    if (open_.size() > static_cast<std::size_t>(kMaxNesting)) throw Problem{value.line, too_deep()};
    open_.push_back({std::move(value)});
  }
  void close() {
    Value value = std::move(open_.back().value);
    open_.pop_back();
    add(std::move(value));
  }
  void add(Value value) {
    if (++values_ > kMaxValues) throw Problem{value.line, too_many()};
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto* list = std::get_if<List>(&open_.back().value.is)) {
      list->push_back(std::move(value));
    } else {
      std::get<Section>(open_.back().value.is).back().value = std::move(value);
      open_.back().has_key = false;
    }
  }

  std::vector<Open> open_;
  Value root_{1, Section{}};
  std::size_t values_ = 0;
  bool started_ = false;
  bool complete_ = false;
};

}  // namespace

bool reads_yaml() noexcept { return true; }

Value parse_yaml(std::string_view text) {
  std::istringstream stream{std::string(text)};
  Builder builder;
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& error) {
    throw Problem{error.mark.line + 1, error.msg};
  }
  Value root = builder.take();
  if (std::holds_alternative<Nothing>(root.is)) root.is = Section{};
  if (!std::holds_alternative<Section>(root.is))
    throw Problem{root.line, "expected sections, found " + describe(root)};
  return root;
}

#else

bool reads_yaml() noexcept { return false; }

Value parse_yaml(std::string_view) {
  throw Problem{
      0, "this Horus was built without YAML (write TOML, or build Horus with yaml-cpp: -Dyaml=enabled)"};
}

#endif

}  // namespace horus::HORUS_ABI::config
