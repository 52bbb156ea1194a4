// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/about.hpp>

#include <string>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/format/ros_names.hpp>

namespace horus::HORUS_ABI {
namespace {

using Code = Description::Code;
using Shape = Description::Shape;

[[noreturn]] void refuse(const Description::Type& type, std::string_view why) {
  throw Error(kBadInput, "describe", fmt::format("{}: {}", type.name, why));
}

}  // namespace

std::uint16_t About::find(std::string_view name) const {
  const Description::Type& type = description_.types[type_];
  std::string there;
  for (std::size_t i = 0; i < type.members.size(); ++i) {
    if (type.members[i].name == name) return static_cast<std::uint16_t>(i);
    there += (i == 0 ? "" : ", ") + type.members[i].name;
  }
  refuse(type,
         fmt::format("horus_about names a field \"{}\", which HORUS_MESSAGE does not list (it lists {})",
                     name, there));
}

About& About::ros(std::string_view name) {
  Description::Type& type = description_.types[type_];
  if (!msg::is_ros_type(name))
    refuse(type, fmt::format("\"{}\" is no name of a ROS message, as in \"rover_msgs/msg/Drive\"", name));
  type.ros_name = name;
  return *this;
}

About::Field About::field(std::string_view name) { return {*this, find(name)}; }

About& About::tail(std::string_view name, std::string_view unit, std::string_view place) {
  Description::Type& type = description_.types[type_];
  if (!has_tail_) refuse(type, "horus_about names a tail, and the struct has no `using Tail = …`");
  constexpr std::string_view kAfter = "after ";
  std::size_t before = type.members.size();
  if (place == "first") {
    before = 0;
  } else if (place.starts_with(kAfter)) {
    before = find(place.substr(kAfter.size())) + std::size_t{1};
  } else if (!place.empty()) {
    refuse(type, fmt::format("a tail's place is \"after FIELD\", \"first\" or \"\", not \"{}\"", place));
  }
  if (!msg::is_field_name(name)) refuse(type, fmt::format("\"{}\" is no name of a tail", name));
  if (type_ == 0 && description_.tail.has_value()) {
    description_.tail->element.name = name;
    description_.tail->element.unit = unit;
    description_.tail->place = static_cast<std::uint16_t>(before);
  }
  return *this;
}

About::Field& About::Field::unit(std::string_view name) {
  about_.description_.types[about_.type_].members[member_].unit = name;
  return *this;
}

About::Field& About::Field::ros(std::string_view name) {
  Description::Type& type = about_.description_.types[about_.type_];
  if (!msg::is_ros_field(name))
    refuse(type, fmt::format("\"{}\" is no name of a ROS field: small letters, digits and single _", name));
  type.members[member_].ros_name = name;
  return *this;
}

About::Field& About::Field::stamp() {
  Description::Type& type = about_.description_.types[about_.type_];
  Description::Member& member = type.members[member_];
  if (member.code != Code::i64 && member.code != Code::stamp)
    refuse(type, fmt::format("\"{}\" is no std::int64_t, so it cannot be a stamp", member.name));
  member.code = Code::stamp;
  return *this;
}

About::Field& About::Field::counted_by(std::string_view name) {
  Description::Type& type = about_.description_.types[about_.type_];
  Description::Member& count = type.members[about_.find(name)];
  Description::Member& member = type.members[member_];
  if (count.code != Code::u32 || count.shape != Shape::one || count.type != Description::kNoType)
    refuse(type, fmt::format("\"{}\" counts the elements of \"{}\", so it must be a std::uint32_t", name,
                             member.name));
  if (member.shape != Shape::array || member.extents.size() != 1 || count.hidden)
    refuse(type,
           fmt::format("\"{}\" cannot be counted by \"{}\": that is for one array each", member.name, name));
  count.hidden = true;
  member.shape = Shape::sequence;
  member.count_offset = count.offset;
  return *this;
}

}  // namespace horus::HORUS_ABI
