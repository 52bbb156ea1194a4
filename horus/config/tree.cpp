// SPDX-License-Identifier: Apache-2.0
#include <horus/config/tree.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

#include <fmt/format.h>

namespace horus::HORUS_ABI::config {
namespace {

constexpr std::size_t kMostShown = 60;        // bytes of a text in an error message
constexpr std::size_t kLongestCompared = 64;  // bytes of a name that is looked for among others

// Letters to change, add, take away or swap with their neighbour:
// https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last;
  std::vector<std::size_t> last(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::vector<std::size_t> row(b.size() + 1);
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({changed, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::exchange(last, std::move(row));
  }
  return last[b.size()];
}

}  // namespace

const Entry* find(const Section& section, std::string_view key) noexcept {
  const auto found =
      std::find_if(section.begin(), section.end(), [&](const Entry& entry) { return entry.key == key; });
  return found == section.end() ? nullptr : &*found;
}

std::string in_a_line(std::string_view text, std::size_t most) {
  std::string line;
  std::size_t shown = 0;
  for (const char c : text) {
    const bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // not in the middle of a character
    if (shown++ >= most && starts) return line + "…";
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) {
      line += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      line += c;
    }
  }
  return line;
}

std::string in_quotes(std::string_view text) { return '"' + in_a_line(text, kMostShown) + '"'; }

std::string describe(const Value& value) {
  struct Visitor {
    std::string operator()(Nothing) const { return "nothing"; }
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const { return fmt::format("{}", number); }
    std::string operator()(const std::string& text) const { return "the text " + in_quotes(text); }
    std::string operator()(Date) const { return "a date"; }
    std::string operator()(const List&) const { return "a list"; }
    std::string operator()(const Section&) const { return "a section"; }
  };
  return std::visit(Visitor{}, value.is);
}

std::string nearest(std::string_view wrong, const std::vector<std::string>& names) {
  std::string best;
  std::size_t least = std::max<std::size_t>(1, wrong.size() / 3) + 1;
  if (wrong.size() > kLongestCompared) return best;
  // A unit that was left out: "rate" for "rate_hz".
  const auto longer = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
    return !wrong.empty() && name.starts_with(wrong) && name[wrong.size()] == '_';
  });
  if (longer != names.end()) return *longer;
  for (const std::string& name : names) {
    if (name.size() > kLongestCompared) continue;
    if (const std::size_t changes = distance(wrong, name); changes < least) {
      least = changes;
      best = name;
    }
  }
  return best;
}

}  // namespace horus::HORUS_ABI::config
