// SPDX-License-Identifier: Apache-2.0
// A described message's types as ROS sees them. Plain values; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <string>
#include <string_view>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/ros_definition.hpp>

namespace horus::HORUS_ABI::msg {

inline constexpr std::string_view kRosTime = "builtin_interfaces/msg/Time";
inline constexpr std::string_view kRosDuration = "builtin_interfaces/msg/Duration";
/// What a type without fields has in ROS: one `uint8`.
inline constexpr std::string_view kNoFields = "structure_needs_at_least_one_member";
inline constexpr std::uint8_t kNestedId = 1;
inline constexpr std::uint8_t kStringId = 17;
inline constexpr std::uint8_t kWideStringId = 18;

/// How a type of one value is called in a .msg file, and its number in `type_description_interfaces/msg/FieldType`.
struct RosScalar {
  std::string_view name;
  std::uint8_t id;
};

/// The message's own type first, then those that it uses.
HORUS_API RosDefinition ros_schema(const Description& description);

/// The values of a member in ROS: of text `string`, of what ROS does not have `uint8`.
RosScalar ros_scalar(Description::Code code) noexcept;
/// The number of "float64"; 0: it is no such type.
std::uint8_t ros_scalar_id(std::string_view name) noexcept;
/// "geometry_msgs/Pose" of "geometry_msgs/msg/Pose".
HORUS_API std::string short_ros_name(std::string_view name);
/// `uint8 MODE_IDLE=0`.
RosDefinition::Constant ros_constant(std::string_view line);
/// "driveFast" → "DRIVE_FAST", as enumerations are called in ROS. `fallback` stands where nothing is left, and before a digit.
HORUS_API std::string shout(std::string_view name, std::string_view fallback);
/// Sets `Field::nested`. Errors: kBadInput when a type is not there, contains itself, or is nested too deep.
Result<> resolve(RosDefinition& definition);

/// True for what is written as so many bytes.
constexpr bool is_raw(Description::Code code) noexcept {
  return code == Description::Code::opaque || code == Description::Code::f128;
}
/// A tail of characters is text.
inline bool is_text_tail(const Description::Tail& tail) noexcept {
  return tail.element.code == Description::Code::character && tail.element.extents.empty();
}

}  // namespace horus::HORUS_ABI::msg
