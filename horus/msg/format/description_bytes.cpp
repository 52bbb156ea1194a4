// SPDX-License-Identifier: Apache-2.0
// The binary form of a description. Little end first; text is a u16 length and its bytes.
//
//   u8 version, u16 number of types, the types, u8 whether there is a tail, the tail: u16 place, member
//   type:    u8 kind, name, ROS name, u32 size, u32 alignment, text, and then
//            of a structure u16 number of members, the members;
//            of an enumeration u8 code, u16 number of constants, each a name and a u64
//   member:  name, ROS name, unit, u8 code, u8 shape, u8 flags, u32 offset, and then those that there are:
//            u16 type (flag 1), u32 bytes of a text, u8 number of extents and u32 each (array, sequence), u32 place of the
//            count (sequence). Flag 2: hidden.
#include <horus/base/error.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/format/packing.hpp>

namespace horus::HORUS_ABI {
namespace {

using Code = Description::Code;
using Kind = Description::Kind;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;
using msg::Packer;
using msg::Unpacker;

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kHasType = 1;
constexpr std::uint8_t kHidden = 2;

template <class E>
std::uint8_t number_of(E value) {
  return static_cast<std::uint8_t>(value);
}

void pack(Packer& to, const Member& member) {
  const bool has_type = member.type != Description::kNoType;
  to.text(member.name).text(member.ros_name).text(member.unit);
  to.number(number_of(member.code)).number(number_of(member.shape));
  to.number(static_cast<std::uint8_t>((has_type ? kHasType : 0) | (member.hidden ? kHidden : 0)));
  to.number(member.offset);
  if (has_type) to.number(member.type);
  if (member.code == Code::text) to.number(member.text_bytes);
  if (member.shape != Shape::one) {
    to.number(static_cast<std::uint8_t>(member.extents.size()));
    for (const std::uint32_t extent : member.extents) to.number(extent);
  }
  if (member.shape == Shape::sequence) to.number(member.count_offset);
}

void pack(Packer& to, const Type& type) {
  to.number(number_of(type.kind)).text(type.name).text(type.ros_name);
  to.number(type.size).number(type.alignment).text(type.text);
  if (type.kind == Kind::structure) {
    to.number(static_cast<std::uint16_t>(type.members.size()));
    for (const Member& member : type.members) pack(to, member);
  }
  if (type.kind == Kind::enumeration) {
    to.number(number_of(type.code)).number(static_cast<std::uint16_t>(type.constants.size()));
    for (const Description::Constant& constant : type.constants)
      to.text(constant.name).number(static_cast<std::uint64_t>(constant.value));
  }
}

template <class E>
E choice(Unpacker& from, E last) {
  const auto number = from.number<std::uint8_t>();
  if (number > number_of(last)) return from.fail(), E{};
  return static_cast<E>(number);
}

Member unpack_member(Unpacker& from) {
  Member member;
  member.name = from.text(Description::kMostName);
  member.ros_name = from.text(Description::kMostName);
  member.unit = from.text(Description::kMostName);
  member.code = choice(from, Code::opaque);
  member.shape = choice(from, Shape::sequence);
  const auto flags = from.number<std::uint8_t>();
  if (flags > (kHasType | kHidden)) from.fail();
  member.hidden = (flags & kHidden) != 0;
  member.offset = from.number<std::uint32_t>();
  if ((flags & kHasType) != 0) {
    member.type = from.number<std::uint16_t>();
    if (member.type == Description::kNoType) from.fail();
  }
  if (member.code == Code::text) member.text_bytes = from.number<std::uint32_t>();
  if (member.shape != Shape::one) {
    const auto extents = from.number<std::uint8_t>();
    if (extents > Description::kMostExtents) from.fail();
    for (std::uint8_t i = 0; i < extents && from.ok(); ++i)
      member.extents.push_back(from.number<std::uint32_t>());
  }
  if (member.shape == Shape::sequence) member.count_offset = from.number<std::uint32_t>();
  return member;
}

Type unpack_type(Unpacker& from) {
  Type type;
  type.kind = choice(from, Kind::opaque);
  type.name = from.text(Description::kMostName);
  type.ros_name = from.text(Description::kMostName);
  type.size = from.number<std::uint32_t>();
  type.alignment = from.number<std::uint32_t>();
  type.text = from.text(Description::kMostText);
  if (type.kind == Kind::structure) {
    const auto members = from.number<std::uint16_t>();
    for (std::uint16_t i = 0; i < members && from.ok(); ++i) type.members.push_back(unpack_member(from));
  }
  if (type.kind == Kind::enumeration) {
    type.code = choice(from, Code::opaque);
    const auto constants = from.number<std::uint16_t>();
    for (std::uint16_t i = 0; i < constants && from.ok(); ++i) {
      std::string name = from.text(Description::kMostName);
      type.constants.push_back({std::move(name), static_cast<std::int64_t>(from.number<std::uint64_t>())});
    }
  }
  return type;
}

Error refuse(std::string_view why) { return {kBadInput, "read a message's description", why}; }

}  // namespace

std::vector<std::byte> Description::encode() const {
  std::vector<std::byte> bytes;
  Packer to(bytes);
  to.number(kVersion).number(static_cast<std::uint16_t>(types.size()));
  for (const Type& type : types) pack(to, type);
  to.number(static_cast<std::uint8_t>(tail.has_value()));
  if (tail.has_value()) {
    to.number(tail->place);
    pack(to, tail->element);
  }
  return bytes;
}

Result<Description> Description::decode(std::span<const std::byte> bytes) {
  if (bytes.size() > kMostBytes) return refuse("it is longer than 64 KiB");
  Unpacker from(bytes);
  if (from.number<std::uint8_t>() != kVersion) return refuse("it has another version than 1, or none");
  Description made;
  const auto types = from.number<std::uint16_t>();
  if (types > kMostTypes) from.fail();
  for (std::uint16_t i = 0; i < types && from.ok(); ++i) made.types.push_back(unpack_type(from));
  const auto has_tail = from.number<std::uint8_t>();
  if (has_tail > 1) from.fail();
  if (has_tail == 1) {
    Tail tail;
    tail.place = from.number<std::uint16_t>();
    tail.element = unpack_member(from);
    made.tail = std::move(tail);
  }
  if (!from.complete()) return refuse("it is cut, too long or not one");
  if (auto sound = made.check(); !sound)
    return sound.error().on("read a message's description", sound.error().target());
  return made;
}

// FNV-1a, as Layout::settle().
std::uint64_t Description::identity() const {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : encode()) hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  return hash;
}

}  // namespace horus::HORUS_ABI
