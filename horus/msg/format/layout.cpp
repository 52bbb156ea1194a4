// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/layout.hpp>

#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <horus/base/symbols.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325;
constexpr std::uint64_t kFnvPrime = 0x100000001b3;

void erase_all(std::string& text, std::string_view part) {
  for (std::size_t at; (at = text.find(part)) != std::string::npos;) text.erase(at, part.size());
}

}  // namespace

// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
void Layout::settle() noexcept {
  hash = kFnvBasis;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * kFnvPrime;
    hash = (hash ^ 0xff) * kFnvPrime;
  };
  const auto add_number = [&](std::uint32_t number) {
    for (int i = 0; i < 4; ++i) hash = (hash ^ (number >> (8 * i) & 0xff)) * kFnvPrime;
  };
  add(name);
  add(fields);
  add_number(head_bytes);
  add_number(alignment);
  add_number(element_bytes);
}

std::string Layout::describe() const {
  std::string line = name;
  if (!fields.empty()) line += " {" + fields + "}";
  if (head_bytes > 0) line += fmt::format(", {} bytes", head_bytes);
  if (element_bytes > 0)
    line += fmt::format(", {}elements of {} bytes", head_bytes > 0 ? "then " : "", element_bytes);
  if (fields.find('@') == std::string::npos && head_bytes > 0)
    line += fmt::format(", aligned to {}", alignment);
  return line;
}

namespace detail {

// clang: "std::string horus::detail::type_name() [T = a::B]"; gcc: "… [with T = a::B; std::string = …]".
std::string tidy_type_name(std::string_view pretty) {
  std::size_t start = pretty.find("T = ");
  if (start == std::string_view::npos) return std::string(pretty);
  start += 4;
  std::size_t end = start;
  for (int depth = 0; end < pretty.size(); ++end) {
    const char c = pretty[end];
    if (c == '<' || c == '(' || c == '{') ++depth;
    if (c == '>' || c == ')' || c == '}') --depth;
    if (depth == 0 && (c == ';' || c == ']')) break;
  }
  std::string name = without_version(pretty.substr(start, end - start));
  for (const char* nameless :
       {"(anonymous namespace)::", "{anonymous}::", "<unnamed>::", "struct ", "class "})
    erase_all(name, nameless);
  return name;
}

void FieldWriter::add(std::string_view type, const char* name, std::size_t offset) {
  if (!line.empty()) line += ", ";
  line += fmt::format("{} {} @{}", type, name, offset);
}

std::string name_scalars(const std::vector<Scalar>& values, bool all) {
  static constexpr std::array<const char*, static_cast<std::size_t>(Scalar::other) + 1> kNames{
      "f64",  "f32", "i32", "u8",  "u32",  "i64",  "u64",  "bool",
      "char", "i8",  "i16", "u16", "byte", "f128", "other"};
  std::string line;
  for (std::size_t i = 0; i < values.size();) {
    std::size_t count = 1;
    while (i + count < values.size() && values[i + count] == values[i]) ++count;
    if (!line.empty()) line += ", ";
    line += kNames[static_cast<std::size_t>(values[i])];
    if (count > 1) line += fmt::format("[{}]", count);
    i += count;
  }
  if (!line.empty() && !all) line += ", ...";
  return line;
}

}  // namespace detail
}  // namespace horus::HORUS_ABI
