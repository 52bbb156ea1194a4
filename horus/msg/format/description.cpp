// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/description.hpp>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/format/ros_names.hpp>

namespace horus::HORUS_ABI {
namespace {

using Code = Description::Code;
using Kind = Description::Kind;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;

struct Scale {
  const char* name;  // in Layout::fields
  std::uint32_t bytes;
};
constexpr std::array<Scale, static_cast<std::size_t>(Code::opaque) + 1> kScales{{{"bool", 1},
                                                                                 {"char", 1},
                                                                                 {"byte", 1},
                                                                                 {"i8", 1},
                                                                                 {"i16", 2},
                                                                                 {"i32", 4},
                                                                                 {"i64", 8},
                                                                                 {"u8", 1},
                                                                                 {"u16", 2},
                                                                                 {"u32", 4},
                                                                                 {"u64", 8},
                                                                                 {"f32", 4},
                                                                                 {"f64", 8},
                                                                                 {"f128", 16},
                                                                                 {"i64", 8},
                                                                                 {"char", 0},
                                                                                 {"", 0},
                                                                                 {"", 0}}};

const Scale& scale(Code code) { return kScales[static_cast<std::size_t>(code)]; }

std::string fields_of(const Description& all, const Type& type);

std::string type_of(const Description& all, const Member& member) {
  std::string line = scale(member.code).name;
  if (member.code == Code::text) line += fmt::format("[{}]", member.text_bytes);
  if (member.code == Code::structure) line = "{" + fields_of(all, all.types[member.type]) + "}";
  if (member.code == Code::opaque) {
    const Type& type = all.types[member.type];
    line = type.text.empty() ? fmt::format("bytes[{}]", type.size) : "{" + type.text + "}";
  }
  // A count in a field of its own stands before the array, within a Sequence it does not show.
  if (member.shape == Shape::sequence) return line + fmt::format("[<={}]", member.extents.front());
  for (std::size_t i = member.extents.size(); i-- > 0;) line += fmt::format("[{}]", member.extents[i]);
  return line;
}

bool counted_elsewhere(const Type& type, const Member& member) {
  return std::any_of(type.members.begin(), type.members.end(), [&](const Member& other) {
    return other.hidden && other.offset == member.count_offset;
  });
}

std::string fields_of(const Description& all, const Type& type) {
  if (type.kind == Kind::opaque || type.members.empty()) return type.text;
  std::string line;
  for (const Member& member : type.members) {
    Member shown = member;
    if (member.shape == Shape::sequence) {
      if (counted_elsewhere(type, member)) {
        shown.shape = Shape::array;
      } else {
        shown.offset = member.count_offset;
      }
    }
    if (!line.empty()) line += ", ";
    line += fmt::format("{} {} @{}", type_of(all, shown), member.name, shown.offset);
  }
  return line;
}

}  // namespace

std::uint64_t Description::Member::count() const noexcept {
  std::uint64_t product = 1;
  for (const std::uint32_t extent : extents) {
    if (extent != 0 && product > UINT64_MAX / extent) return UINT64_MAX;
    product *= extent;
  }
  return product;
}

std::uint32_t Description::size_of(const Member& member) const noexcept {
  if (member.code == Code::text) return member.text_bytes;
  if (member.code == Code::structure || member.code == Code::opaque) return types[member.type].size;
  return scale(member.code).bytes;
}

std::uint32_t Description::alignment_of(const Member& member) const noexcept {
  if (member.code == Code::text) return 1;
  if (member.code == Code::structure || member.code == Code::opaque) return types[member.type].alignment;
  return scale(member.code).bytes;
}

std::uint32_t Description::tail_bytes() const noexcept {
  return tail.has_value() ? static_cast<std::uint32_t>(size_of(tail->element) * tail->element.count()) : 0;
}

Layout Description::layout() const {
  Layout made;
  made.name = root().name;
  made.fields = fields_of(*this, root());
  made.head_bytes = root().size;
  made.alignment = root().alignment;
  made.tail_offset = root().size;
  if (tail.has_value()) {
    const Member& element = tail->element;
    if (made.head_bytes == 0 && element.code == Code::structure && element.extents.empty())
      made.fields = fields_of(*this, types[element.type]);
    if (made.head_bytes > 0 && !made.fields.empty())
      made.fields += ", then " + type_of(*this, tail->element) + "s";
    made.element_bytes = tail_bytes();
    made.alignment = std::max(made.alignment, alignment_of(tail->element));
    made.tail_offset = tail->element.offset;
  }
  made.settle();
  return made;
}

// --- What a description must be -----------------------------------------------------------------------------------------

namespace {

struct Problem {
  std::string text;
};

template <class List>
std::size_t same_name(const List& list, std::string_view name) {
  std::size_t same = 0;
  for (const auto& one : list) same += one.name == name ? 1 : 0;
  return same;
}

class Checker {
 public:
  explicit Checker(const Description& all) : all_(all), fields_(all.types.size(), 0) {}

  void run() {
    must(!all_.types.empty(), "it has no types");
    must(all_.types.size() <= Description::kMostTypes, "it has too many types");
    for (const Type& type : all_.types) own(type);
    next_ = 1;
    walk(0, 1);
    if (all_.tail.has_value()) check_tail(*all_.tail);
    must(next_ == all_.types.size(), "a type is not used");
    must(all_.root().kind != Kind::enumeration, "a message is no enumeration");
    must(all_.root().size > 0 || all_.tail.has_value(), "a message without bytes");
  }

 private:
  void must(bool holds, std::string_view what) const {
    if (!holds) throw Problem{(where_.empty() ? "" : where_ + ": ") + std::string(what)};
  }
  static bool is_name(std::string_view name) {
    return name.size() <= Description::kMostName &&
           std::all_of(name.begin(), name.end(), [](char c) { return static_cast<unsigned char>(c) >= ' '; });
  }

  // What a type says of itself.
  void own(const Type& type) {
    where_ = type.name;
    must(!type.name.empty() && is_name(type.name), "a type's name is empty, too long or not text");
    must(type.ros_name.empty() || (is_name(type.ros_name) && msg::is_ros_type(type.ros_name)), "no ROS name");
    must(type.alignment >= 1 && type.alignment <= 64 && (type.alignment & (type.alignment - 1)) == 0,
         "an alignment that cannot be");
    must(type.size <= Description::kMostHead && type.size % type.alignment == 0, "a size that cannot be");
    must(type.size > 0 || (&type == &all_.root() && type.members.empty()), "a type without bytes");
    must(type.text.size() <= Description::kMostText, "the types of its values are too long a text");
    must(type.members.size() <= detail::kMostFields, "too many fields");
    must(type.constants.size() <= detail::kMostFields, "too many constants");
    if (type.kind == Kind::enumeration) {
      must(type.members.empty() && type.text.empty(), "an enumeration with fields");
      must(is_enumerable(type.code) && scale(type.code).bytes == type.size, "an enumeration of no integer");
      for (const Description::Constant& constant : type.constants) {
        must(is_name(constant.name) && msg::is_field_name(constant.name), "a constant without a name");
        must(same_name(type.constants, constant.name) == 1, "two constants of one name");
      }
      return;
    }
    must(type.constants.empty() && type.code == Code::u8, "constants that belong to no enumeration");
    must(type.kind == Kind::structure || type.members.empty(), "an opaque type with fields");
    must(type.kind == Kind::opaque || type.size == 0 || type.text.empty(), "fields that are also a text");
    must(type.kind == Kind::opaque || type.size == 0 || !type.members.empty(), "a structure without fields");
  }
  static bool is_enumerable(Code code) {
    return (code >= Code::i8 && code <= Code::u64) || code == Code::boolean || code == Code::character ||
           code == Code::byte;
  }

  void element(const Member& member) const {
    must(is_name(member.name) && msg::is_field_name(member.name), "a field without a name");
    must(is_name(member.ros_name) && (member.ros_name.empty() || msg::is_ros_field(member.ros_name)),
         "a field's ROS name is none");
    must(is_name(member.unit), "a unit is too long or not text");
    must(member.extents.size() <= Description::kMostExtents, "an array of too many arrays");
    for (const std::uint32_t extent : member.extents) must(extent > 0, "an array without elements");
    must((member.code == Code::text) == (member.text_bytes > 0), "text without bytes");
    if (member.type == Description::kNoType) {
      must(member.code != Code::structure && member.code != Code::opaque, "a field of no type");
      return;
    }
    must(member.type < all_.types.size(), "a field of a type that is not there");
    const Type& type = all_.types[member.type];
    const Kind kind = member.code == Code::structure ? Kind::structure
                      : member.code == Code::opaque  ? Kind::opaque
                                                     : Kind::enumeration;
    must(type.kind == kind && (kind != Kind::enumeration || type.code == member.code),
         "a field of a type of another kind");
  }

  // In the order of first use, which is the order of the types; a type cannot hold itself. Gives how many fields the type
  // has, through all that is nested.
  std::uint64_t walk(std::uint16_t index, std::size_t depth) {
    const Type& type = all_.types[index];
    where_ = type.name;
    must(depth <= Description::kMostNested, "structs nested too deeply");
    open_.push_back(index);
    std::uint64_t fields = 1;
    for (const Member& member : type.members) {
      where_ = type.name + "::" + member.name;
      element(member);
      must(member.shape != Shape::one || member.extents.empty(), "one value with a length");
      must(member.shape != Shape::array || !member.extents.empty(), "an array without a length");
      must(member.shape != Shape::sequence || member.extents.size() == 1, "a sequence without a length");
      must(member.shape == Shape::sequence || member.count_offset == 0, "a count of no sequence");
      must(same_name(type.members, member.name) == 1, "two fields of one name");
      fields += visit(member, depth);
      must(fields <= Description::kMostFields, "too many fields in all nested types together");
    }
    open_.pop_back();
    places(type);
    fields_[index] = fields;
    return fields;
  }
  std::uint64_t visit(const Member& member, std::size_t depth) {
    if (member.type == Description::kNoType) return 1;
    if (member.type >= next_) {
      must(member.type == next_, "types out of order");
      ++next_;
      return walk(member.type, depth + 1);
    }
    must(std::find(open_.begin(), open_.end(), member.type) == open_.end(), "a type within itself");
    return fields_[member.type];
  }

  // Nothing lies in one place with another thing, nor behind the end.
  void places(const Type& type) {
    struct Range {
      std::uint64_t from, to;
    };
    std::vector<Range> taken;
    for (const Member& member : type.members) {
      where_ = type.name + "::" + member.name;
      const std::uint64_t size = all_.size_of(member);
      must(size > 0 && member.count() <= Description::kMostHead / size, "a field larger than a message");
      taken.push_back({member.offset, member.offset + size * member.count()});
      if (member.hidden) {
        must(member.code == Code::u32 && member.shape == Shape::one && member.type == Description::kNoType,
             "a count that is no u32");
        must(std::count_if(type.members.begin(), type.members.end(),
                           [&](const Member& other) {
                             return other.shape == Shape::sequence && other.count_offset == member.offset;
                           }) == 1,
             "a count that counts nothing");
      }
      if (member.shape == Shape::sequence && !counted_elsewhere(type, member))
        taken.push_back({member.count_offset, std::uint64_t{member.count_offset} + sizeof(std::uint32_t)});
    }
    where_ = type.name;
    std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.from < b.from; });
    std::uint64_t end = 0;
    for (const Range& range : taken) {
      must(range.from >= end, "two fields in one place (members of a union?)");
      end = range.to;
    }
    must(end <= type.size, "a field behind the end");
  }

  void check_tail(const Description::Tail& tail) {
    where_ = "tail";
    const Member& member = tail.element;
    element(member);
    must(member.shape == (member.extents.empty() ? Shape::one : Shape::array) && !member.hidden &&
             member.count_offset == 0,
         "elements that are no values");
    visit(member, 1);
    where_ = "tail";
    const std::uint64_t size = all_.size_of(member);
    must(size > 0 && member.count() <= Description::kMostHead / size, "an element larger than a message");
    const std::uint64_t alignment = all_.alignment_of(member);
    must(member.offset == (all_.root().size + alignment - 1) / alignment * alignment,
         "in no place of a tail");
    must(tail.place <= all_.root().members.size(), "after a field that is not there");
    must(same_name(all_.root().members, member.name) == 0, "of the same name as a field");
  }

  const Description& all_;
  std::vector<std::uint64_t> fields_;
  std::vector<std::uint16_t> open_;
  std::size_t next_ = 0;
  std::string where_;
};

}  // namespace

Result<void> Description::check() const {
  try {
    Checker(*this).run();
    return {};
  } catch (const Problem& problem) {
    return Error(kBadInput, "describe", problem.text);
  }
}

namespace detail {

DescriptionBuilder::Place DescriptionBuilder::type(const void* key, std::string name, Kind kind,
                                                   std::size_t size, std::size_t alignment) {
  const auto found = std::find(keys_.begin(), keys_.end(), key);
  if (found != keys_.end()) return {static_cast<std::uint16_t>(found - keys_.begin()), false};
  if (keys_.size() >= Description::kMostTypes)
    throw Error(kBadInput, "describe", fmt::format("{}: too many types", made_.types.front().name));
  keys_.push_back(key);
  Description::Type made;
  made.name = std::move(name);
  made.kind = kind;
  made.size = static_cast<std::uint32_t>(size);
  made.alignment = static_cast<std::uint32_t>(alignment);
  made_.types.push_back(std::move(made));
  return {static_cast<std::uint16_t>(made_.types.size() - 1), true};
}

Description DescriptionBuilder::finish() {
  made_.check().or_throw();
  if (made_.encode().size() > Description::kMostBytes)
    throw Error(kBadInput, "describe", made_.root().name + ": more than 64 KiB of names");
  return std::move(made_);
}

}  // namespace detail
}  // namespace horus::HORUS_ABI
