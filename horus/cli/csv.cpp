// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/csv.hpp>

#include <algorithm>
#include <cerrno>

#include <fmt/format.h>

#include <horus/base/error.hpp>

#include <nlohmann/json.hpp>

namespace horus::cli {
namespace {

using Json = nlohmann::ordered_json;
using ColumnShape = CsvColumns::Shape;

// Null for what no number can hold: "1e999" is JSON, too.
Json parsed(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_discarded() ? Json() : json;
}

class Learner {
 public:
  Learner(std::size_t list_columns, std::size_t& places) : list_columns_(list_columns), places_(places) {}

  bool learn(ColumnShape& shape, const Json& json) {  // NOLINT(misc-no-recursion): as deep as JSON is read
    if (json.is_object()) {
      std::size_t expected = 0;  // members come in the same order, as a rule
      for (const auto& [name, value] : json.items()) {
        ColumnShape* member = find(shape, name, expected);
        if (member == nullptr || !learn(*member, value)) return false;
      }
    } else if (json.is_array()) {
      if (json.size() > list_columns_) shape.is_whole = true;
      if (shape.is_whole || json.empty()) return true;
      shape.length = std::max(shape.length, json.size());
      if (shape.element == nullptr && !make(shape.element)) return false;
      for (const Json& value : json)
        if (!learn(*shape.element, value)) return false;
    } else if (!json.is_null()) {
      shape.is_value = true;
    }
    return true;
  }

 private:
  bool make(std::unique_ptr<ColumnShape>& shape) {
    if (++places_ > CsvColumns::kMostColumns) return false;
    shape = std::make_unique<ColumnShape>();
    return true;
  }
  ColumnShape* find(ColumnShape& shape, const std::string& name, std::size_t& expected) {
    auto& members = shape.members;
    if (expected >= members.size() || members[expected].first != name) {
      const auto found =
          std::find_if(members.begin(), members.end(), [&](const auto& one) { return one.first == name; });
      if (found == members.end()) {
        std::unique_ptr<ColumnShape> made;
        if (!make(made)) return nullptr;
        members.emplace_back(name, std::move(made));
        expected = members.size();
        return members.back().second.get();
      }
      expected = static_cast<std::size_t>(found - members.begin());
    }
    return members[expected++].second.get();
  }

  std::size_t list_columns_;
  std::size_t& places_;
};

std::size_t columns_of(const ColumnShape& shape) {  // NOLINT(misc-no-recursion)
  std::size_t count = (shape.is_value ? 1U : 0U) + (shape.is_whole ? 1U : 0U);
  for (const auto& [name, member] : shape.members) count += columns_of(*member);
  if (!shape.is_whole && shape.element != nullptr) {
    const std::size_t each = columns_of(*shape.element);
    // A product that may overflow: any number that is too large will do.
    count += each > CsvColumns::kMostColumns ? each : each * shape.length;
  }
  return count;
}

std::string text_of(const Json& json) {
  if (json.is_string()) return csv_cell(json.get_ref<const std::string&>());
  return csv_cell(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void write_names(std::string& out, const ColumnShape& shape,
                 const std::string& path) {  // NOLINT(misc-no-recursion)
  if (shape.is_value || shape.is_whole) out += ',' + csv_cell(path.empty() ? "value" : path);
  for (const auto& [name, member] : shape.members)
    write_names(out, *member, path.empty() ? name : path + '.' + name);
  if (shape.is_whole || shape.element == nullptr) return;
  for (std::size_t i = 0; i < shape.length; ++i)
    write_names(out, *shape.element, fmt::format("{}[{}]", path, i));
}

// `json` is null where the message has nothing.
void write_cells(std::string& out, const ColumnShape& shape, const Json* json) {  // NOLINT(misc-no-recursion)
  const bool is_list = json != nullptr && json->is_array();
  const bool is_object = json != nullptr && json->is_object();
  const bool is_value = json != nullptr && !is_list && !is_object && !json->is_null();
  if (shape.is_value || shape.is_whole) {
    out += ',';
    if (is_value || (is_list && shape.is_whole)) out += text_of(*json);
  }
  auto next =
      is_object ? json->begin() : Json::const_iterator();  // members come in the same order, as a rule
  for (const auto& [name, member] : shape.members) {
    const Json* found = nullptr;
    if (is_object) {
      if (next == json->end() || next.key() != name) next = json->find(name);
      if (next != json->end()) found = &*next++;
    }
    write_cells(out, *member, found);
  }
  if (shape.is_whole || shape.element == nullptr) return;
  for (std::size_t i = 0; i < shape.length; ++i)
    write_cells(out, *shape.element, is_list && i < json->size() ? &(*json)[i] : nullptr);
}

}  // namespace

Result<> CsvColumns::learn(std::string_view json) {
  if (Learner(list_columns_, places_).learn(root_, parsed(json)) && columns_of(root_) <= kMostColumns)
    return {};
  return Error(ENOBUFS, "make a table",
               fmt::format("it would have more than {} columns: --list-columns 0 puts each list into one",
                           kMostColumns));
}

std::string CsvColumns::names() const {
  std::string out;
  write_names(out, root_, {});
  return out;
}

std::string CsvColumns::cells(std::string_view json) const {
  const Json values = parsed(json);
  std::string out;
  write_cells(out, root_, &values);
  return out;
}

std::string csv_cell(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string made = "\"";
  for (const char c : text) {
    if (c == '"') made += '"';
    made += c;
  }
  return made + '"';
}

}  // namespace horus::cli
