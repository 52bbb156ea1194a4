// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/value_diff.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace horus::cli {
namespace {

using Json = nlohmann::ordered_json;

class Comparison {
 public:
  explicit Comparison(const ValueRules& rules) : rules_(rules) {}

  // Null: it is not there.
  void compare(const std::string& path, const Json* a, const Json* b) {  // NOLINT(misc-no-recursion)
    if (rules_.ignores && !path.empty() && rules_.ignores(path)) return;
    if (a == nullptr || b == nullptr) return note(path, a, b);
    if (a->is_object() && b->is_object()) return members(path, *a, *b);
    if (a->is_array() && b->is_array()) return lists(path, *a, *b);
    if (a->is_number() && b->is_number() ? !near(*a, *b) : *a != *b) note(path, a, b);
  }
  [[nodiscard]] ValueDiff& found() noexcept { return found_; }

 private:
  void members(const std::string& path, const Json& a, const Json& b) {  // NOLINT(misc-no-recursion)
    const auto inner = [&](const std::string& name) { return path.empty() ? name : path + '.' + name; };
    for (const auto& [name, value] : a.items()) {
      const auto other = b.find(name);
      compare(inner(name), &value, other == b.end() ? nullptr : &*other);
    }
    for (const auto& [name, value] : b.items())
      if (!a.contains(name)) compare(inner(name), nullptr, &value);
  }
  void lists(const std::string& path, const Json& a, const Json& b) {  // NOLINT(misc-no-recursion)
    for (std::size_t i = 0; i < std::max(a.size(), b.size()); ++i)
      compare(fmt::format("{}[{}]", path, i), i < a.size() ? &a[i] : nullptr, i < b.size() ? &b[i] : nullptr);
  }
  [[nodiscard]] bool near(const Json& a, const Json& b) const {
    if (a == b) return true;
    if (a.is_number_integer() && b.is_number_integer() && rules_.tolerance < 1) return false;
    return std::fabs(a.get<double>() - b.get<double>()) <= rules_.tolerance;
  }
  void note(const std::string& path, const Json* a, const Json* b) {
    if (++found_.count > 1) return;
    found_.path = path;
    found_.a = a == nullptr ? "" : text(*a);
    found_.b = b == nullptr ? "" : text(*b);
  }
  static std::string text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  const ValueRules& rules_;
  ValueDiff found_;
};

}  // namespace

ValueDiff diff_values(std::string_view a, std::string_view b, const ValueRules& rules) {
  const Json first = Json::parse(a, nullptr, false);
  const Json second = Json::parse(b, nullptr, false);
  Comparison comparison(rules);
  comparison.compare({}, &first, &second);
  return std::move(comparison.found());
}

}  // namespace horus::cli
