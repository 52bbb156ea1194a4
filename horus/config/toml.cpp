// SPDX-License-Identifier: Apache-2.0
// TOML by toml++, which stays in this file.
#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include <horus/config/document.hpp>
#include <horus/config/parsers.hpp>
#include <horus/config/toml_guard.hpp>

// toml++ 3.3 asserts what garbage breaks ("[ = "), and without assertions takes it for granted. Here it is an error in the
// file, in every build.
namespace horus::HORUS_ABI::config {
struct Surprise {};
}  // namespace horus::HORUS_ABI::config
#undef NDEBUG
#define TOML_ASSERT(condition) ((condition) ? void() : throw ::horus::config::Surprise())
#define TOML_HEADER_ONLY 1
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace horus::HORUS_ABI::config {
namespace {

int line_of(const toml::source_region& region) { return static_cast<int>(region.begin.line); }

Value convert(const toml::node& node, int depth, std::size_t& values);

Section convert_table(const toml::table& table, int depth, std::size_t& values) {
  Section section;
  section.reserve(table.size());
  for (const auto& [key, node] : table)
    section.push_back({std::string(key.str()), line_of(key.source()), convert(node, depth + 1, values)});
  std::sort(section.begin(), section.end(),
            [](const Entry& a, const Entry& b) { return std::tie(a.line, a.key) < std::tie(b.line, b.key); });
  return section;
}

Value convert(const toml::node& node, int depth, std::size_t& values) {
  Value value;
  value.line = line_of(node.source());
  if (depth > kMaxNesting) throw Problem{value.line, too_deep()};
  if (++values > kMaxValues) throw Problem{value.line, too_many()};
  if (const auto* table = node.as_table()) {
    value.is = convert_table(*table, depth, values);
  } else if (const auto* array = node.as_array()) {
    List list;
    list.reserve(array->size());
    for (const toml::node& element : *array) list.push_back(convert(element, depth + 1, values));
    value.is = std::move(list);
  } else if (const auto* text = node.as_string()) {
    value.is = text->get();
  } else if (const auto* integer = node.as_integer()) {
    value.is = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    value.is = number->get();
  } else if (const auto* flag = node.as_boolean()) {
    value.is = flag->get();
  } else {
    value.is = Date{};
  }
  return value;
}

// The line that a surprise comes from: the first that makes it when what follows is left away.
int line_of_surprise(std::string_view text) {
  std::vector<std::size_t> ends;  // of lines
  for (std::size_t at = 0; (at = text.find('\n', at)) != std::string_view::npos; ++at) ends.push_back(at + 1);
  const auto surprises = [&](std::size_t end) {
    try {
      static_cast<void>(toml::parse(text.substr(0, end)));
    } catch (const Surprise&) {
      return true;
    } catch (const toml::parse_error&) {
    }
    return false;
  };
  const auto found =
      std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) { return !surprises(end); });
  return static_cast<int>(found - ends.begin()) + 1;
}

}  // namespace

Value parse_toml(std::string_view text) {
  guard_toml(text);
  try {
    const toml::table table = toml::parse(text);
    std::size_t values = 0;
    return convert(table, 0, values);
  } catch (const Surprise&) {
    throw Problem{line_of_surprise(text), "not TOML"};
  } catch (const toml::parse_error& error) {
    throw Problem{line_of(error.source()), std::string(error.description())};
  }
}

}  // namespace horus::HORUS_ABI::config
