// SPDX-License-Identifier: Apache-2.0
// A message's types as ROS sees them: from these come the .msg text and the type hash. Plain values; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/description.hpp>

namespace horus::msg {

/// How a type of one value is called in a .msg file, and its number in `type_description_interfaces/msg/FieldType`.
struct RosScalar {
  const char* name;
  std::uint8_t id;
};

struct RosField {
  std::string name;
  std::string type;     ///< "float64", "string", or a nested type's "geometry_msgs/msg/Pose"
  std::uint8_t id = 1;  ///< 1: nested
  Description::Shape shape = Description::Shape::one;
  std::uint64_t count = 0;             ///< of an array
  std::vector<std::string> constants;  ///< lines that stand before it
  std::string preset;                  ///< its value where none is set; empty: zero
  bool operator==(const RosField&) const = default;
};

struct RosType {
  std::string name;  ///< "geometry_msgs/msg/Pose"
  std::vector<RosField> fields;
  bool operator==(const RosType&) const = default;
};

/// The message's own type first, then those that it uses.
HORUS_API std::vector<RosType> ros_schema(const Description& description);

/// The values of a member in ROS: of text `string`, of what ROS does not have `uint8`.
RosScalar ros_scalar(Description::Code code) noexcept;
/// True for what is written as so many bytes.
constexpr bool is_raw(Description::Code code) noexcept {
  return code == Description::Code::opaque || code == Description::Code::f128;
}
/// A tail of characters is text.
inline bool is_text_tail(const Description::Tail& tail) noexcept {
  return tail.element.code == Description::Code::character && tail.element.extents.empty();
}

}  // namespace horus::msg
