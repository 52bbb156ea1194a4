// SPDX-License-Identifier: Apache-2.0
// What a configuration file says, whatever its format: sections, lists and plain values, with the lines they stand in.
// Plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::config {

struct Entry;
struct Value;
struct Nothing {};  ///< YAML's null
struct Date {};     ///< TOML's dates and times, which no key takes
using List = std::vector<Value>;
using Section = std::vector<Entry>;  ///< in the order of their lines; no key twice

struct Value {
  int line = 0;  ///< from 1
  std::variant<Nothing, bool, std::int64_t, double, std::string, Date, List, Section> is;
};

struct Entry {
  std::string key;
  int line = 0;  ///< of the key, from 1
  Value value;
};

/// Null when there is none of that name.
HORUS_API const Entry* find(const Section& section, std::string_view key) noexcept;
/// For people: `5`, `true`, `the text "fast"`, `a list`.
HORUS_API std::string describe(const Value& value);
/// Without control characters, and cut after `most` bytes.
HORUS_API std::string in_a_line(std::string_view text, std::size_t most);
/// The same in quotes, and short.
HORUS_API std::string in_quotes(std::string_view text);
/// The one of `names` that `wrong` was probably meant to be; empty when none is near.
HORUS_API std::string nearest(std::string_view wrong, const std::vector<std::string>& names);

}  // namespace horus::HORUS_ABI::config
