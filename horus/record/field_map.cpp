// SPDX-License-Identifier: Apache-2.0
#include <horus/record/field_map.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <variant>

#include <fmt/format.h>

namespace horus::HORUS_ABI::record {
namespace {

using Code = Description::Code;
using Shape = Description::Shape;
using Member = Description::Member;

constexpr const char* kAction = "read a recorded message";

template <class N>
N number_at(const std::byte* from) noexcept {
  N value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class N>
void put(std::byte* to, N value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

// Those that are the same bytes.
Code plain(Code code) noexcept {
  switch (code) {
    case Code::character:
    case Code::byte: return Code::u8;
    case Code::stamp: return Code::i64;
    default: return code;
  }
}
bool is_whole(Code code) noexcept { return plain(code) >= Code::i8 && plain(code) <= Code::u64; }
bool is_real(Code code) noexcept { return code == Code::f32 || code == Code::f64; }

std::string spelled(const Description& all, const Member& member) {
  auto name = [&]() -> std::string {
    switch (member.code) {
      case Code::boolean: return "bool";
      case Code::character: return "char";
      case Code::byte: return "byte";
      case Code::i8: return "i8";
      case Code::i16: return "i16";
      case Code::i32: return "i32";
      case Code::i64: return "i64";
      case Code::u8: return "u8";
      case Code::u16: return "u16";
      case Code::u32: return "u32";
      case Code::u64: return "u64";
      case Code::f32: return "f32";
      case Code::f64: return "f64";
      case Code::f128: return "f128";
      case Code::stamp: return "a time";
      case Code::text: return fmt::format("text of {} bytes", member.text_bytes);
      case Code::structure:
      case Code::opaque: return all.types[member.type].name;
    }
    return "?";
  }();
  if (member.shape == Shape::sequence) return fmt::format("up to {} of {}", member.extents.front(), name);
  if (member.shape == Shape::array) return fmt::format("{} of {}", member.count(), name);
  return name;
}

Error differs(const std::string& path, const std::string& why) {
  return {kTypeMismatch, kAction, fmt::format("{}: {}", path, why)};
}
Error does_not_fit(const Member& member, const std::string& what) {
  return {kBadInput, kAction, fmt::format("field {}: {} does not fit", member.name, what)};
}

// A whole number, whatever its width: the sign apart, so that u64 has room.
using Whole = std::variant<std::int64_t, std::uint64_t>;

Whole whole_at(Code code, const std::byte* from) noexcept {
  switch (plain(code)) {
    case Code::i8: return std::int64_t{number_at<std::int8_t>(from)};
    case Code::i16: return std::int64_t{number_at<std::int16_t>(from)};
    case Code::i32: return std::int64_t{number_at<std::int32_t>(from)};
    case Code::u8: return std::uint64_t{number_at<std::uint8_t>(from)};
    case Code::u16: return std::uint64_t{number_at<std::uint16_t>(from)};
    case Code::u32: return std::uint64_t{number_at<std::uint32_t>(from)};
    case Code::u64: return number_at<std::uint64_t>(from);
    default: return number_at<std::int64_t>(from);
  }
}

template <class N>
bool put_whole(const Whole& value, std::byte* to) noexcept {
  return std::visit(
      [&](auto number) {
        if (!std::in_range<N>(number)) return false;
        put(to, static_cast<N>(number));
        return true;
      },
      value);
}

bool put_whole(Code code, const Whole& value, std::byte* to) noexcept {
  switch (plain(code)) {
    case Code::i8: return put_whole<std::int8_t>(value, to);
    case Code::i16: return put_whole<std::int16_t>(value, to);
    case Code::i32: return put_whole<std::int32_t>(value, to);
    case Code::u8: return put_whole<std::uint8_t>(value, to);
    case Code::u16: return put_whole<std::uint16_t>(value, to);
    case Code::u32: return put_whole<std::uint32_t>(value, to);
    case Code::u64: return put_whole<std::uint64_t>(value, to);
    default: return put_whole<std::int64_t>(value, to);
  }
}

double real_of(Code code, const std::byte* from) noexcept {
  if (code == Code::f32) return static_cast<double>(number_at<float>(from));
  if (code == Code::f64) return number_at<double>(from);
  return std::visit([](auto number) { return static_cast<double>(number); }, whole_at(code, from));
}

const Member* find(const Description::Type& type, const std::string& name, std::uint16_t& index) noexcept {
  for (std::size_t i = 0; i < type.members.size(); ++i) {
    if (type.members[i].name != name) continue;
    index = static_cast<std::uint16_t>(i);
    return &type.members[i];
  }
  return nullptr;
}

}  // namespace

// --- What belongs to what ---------------------------------------------------------------------------------------------

FieldMap::FieldMap(const Description& from, const Description& to, Bytes blank_head, Bytes blank_element)
    : from_(from),
      to_(to),
      blank_head_(blank_head.begin(), blank_head.end()),
      blank_element_(blank_element.begin(), blank_element.end()) {
  blank_head_.resize(to_.root().size);
  blank_element_.resize(to_.tail_bytes());
}

Result<FieldMap> FieldMap::make(const Description& from, const Description& to, Bytes blank_head,
                                Bytes blank_element) {
  FieldMap map(from, to, blank_head, blank_element);
  const bool both_known = from.known() && to.known();
  if (!both_known && (from.root().kind != to.root().kind || from.root().size != to.root().size ||
                      from.root().text != to.root().text))
    return differs(to.root().name, "nobody described its fields, and its bytes have changed");
  if (both_known) {
    if (auto matched = map.pair_types(0, 0, ""); !matched) return matched.error();
  }
  if (from.tail && to.tail) {
    if (auto matched = map.match(from.tail->element, to.tail->element, to.tail->element.name); !matched)
      return matched.error();
  }
  return map;
}

Result<> FieldMap::pair_types(std::uint16_t from, std::uint16_t to, const std::string& path) {
  const auto [known, fresh] = pairs_.try_emplace({from, to});
  if (!fresh) return {};
  Pairs pairs;
  const auto& wanted = to_.types[to].members;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    std::uint16_t there = 0;
    const Member* old = find(from_.types[from], wanted[i].name, there);
    if (old == nullptr) continue;
    pairs.emplace_back(there, static_cast<std::uint16_t>(i));
    if (auto matched = match(*old, wanted[i], path.empty() ? wanted[i].name : path + "." + wanted[i].name);
        !matched)
      return matched;
  }
  pairs_[{from, to}] = std::move(pairs);
  return {};
}

Result<> FieldMap::match(const Member& from, const Member& to, const std::string& path) {
  const bool same_shape =
      from.shape == to.shape && (from.shape != Shape::array || from.count() == to.count());
  const bool grows_list =
      from.shape == Shape::array && to.shape == Shape::sequence && from.count() <= to.extents.front();
  if (!same_shape && !grows_list)
    return differs(path,
                   fmt::format("{} was recorded, {} is wanted", spelled(from_, from), spelled(to_, to)));
  return match_value(from, to, path);
}

Result<> FieldMap::match_value(const Member& from, const Member& to, const std::string& path) {
  const Code a = plain(from.code);
  const Code b = plain(to.code);
  if (a == Code::structure && b == Code::structure) return pair_types(from.type, to.type, path);
  const bool matches = a == Code::opaque ? b == a && from_.types[from.type].size == to_.types[to.type].size &&
                                               from_.types[from.type].text == to_.types[to.type].text
                                         : a == b || (is_whole(a) && (is_whole(b) || is_real(b))) ||
                                               (is_real(a) && is_real(b));
  if (matches) return {};
  return differs(path, fmt::format("{} was recorded, {} is wanted", spelled(from_, from), spelled(to_, to)));
}

// --- One message ------------------------------------------------------------------------------------------------------

Result<> FieldMap::convert(Bytes head, Bytes tail, std::vector<std::byte>& to_head,
                           std::vector<std::byte>& to_tail) const {
  to_head = blank_head_;
  to_tail.clear();
  if (from_.known() && to_.known()) {
    if (auto done = structure(0, 0, head.data(), to_head.data()); !done) return done;
  } else if (!head.empty()) {
    std::memcpy(to_head.data(), head.data(), to_head.size());
  }
  if (!from_.tail || !to_.tail) return {};
  const std::size_t there = from_.tail_bytes();
  const std::size_t here = to_.tail_bytes();
  const std::size_t count = tail.size() / there;
  to_tail.reserve(count * here);
  Member from = from_.tail->element;
  Member to = to_.tail->element;
  from.offset = to.offset = 0;
  for (std::size_t i = 0; i < count; ++i) {
    to_tail.insert(to_tail.end(), blank_element_.begin(), blank_element_.end());
    if (auto done = field(from, to, tail.data() + i * there, to_tail.data() + i * here); !done) return done;
  }
  return {};
}

Result<> FieldMap::structure(std::uint16_t from, std::uint16_t to, const std::byte* there,
                             std::byte* here) const {
  for (const auto& [old, wanted] : pairs_.at({from, to})) {
    if (auto done = field(from_.types[from].members[old], to_.types[to].members[wanted], there, here); !done)
      return done;
  }
  return {};
}

Result<> FieldMap::field(const Member& from, const Member& to, const std::byte* there,
                         std::byte* here) const {
  std::uint64_t count = from.count();
  if (from.shape == Shape::sequence)
    count = std::min(number_at<std::uint32_t>(there + from.count_offset), from.extents.front());
  if (to.shape == Shape::sequence) {
    if (count > to.extents.front()) return does_not_fit(to, fmt::format("a list of {} values", count));
    put(here + to.count_offset, static_cast<std::uint32_t>(count));
  }
  const std::size_t there_step = from_.size_of(from);
  const std::size_t here_step = to_.size_of(to);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (auto done = value(from, to, there + from.offset + i * there_step, here + to.offset + i * here_step);
        !done)
      return done;
  }
  return {};
}

Result<> FieldMap::value(const Member& from, const Member& to, const std::byte* there,
                         std::byte* here) const {
  const Code a = plain(from.code);
  const Code b = plain(to.code);
  if (a == Code::structure) return structure(from.type, to.type, there, here);
  if (a == Code::text) {
    const auto* first = reinterpret_cast<const char*>(there);
    const auto size = static_cast<std::size_t>(std::find(first, first + from.text_bytes, '\0') - first);
    if (size > to.text_bytes) return does_not_fit(to, fmt::format("text of {} bytes", size));
    std::memset(here, 0, to.text_bytes);
    std::memcpy(here, first, size);
    return {};
  }
  if (a == b) {
    std::memcpy(here, there, to_.size_of(to));
    return {};
  }
  if (b == Code::f64) {
    put(here, real_of(a, there));
    return {};
  }
  if (b == Code::f32) {
    put(here, static_cast<float>(real_of(a, there)));
    return {};
  }
  const Whole number = whole_at(a, there);
  if (put_whole(b, number, here)) return {};
  return does_not_fit(to, std::visit([](auto value) { return std::to_string(value); }, number));
}

}  // namespace horus::HORUS_ABI::record
