// SPDX-License-Identifier: Apache-2.0
// The definition of a ROS 2 message, as a .msg file and the schemas "ros2msg" of recordings have it: read, written, hashed.
// Plain values and pure functions; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI {

/// A message of ROS and all types that it uses. Unlike a Description it says nothing about bytes in memory, and may have any
/// number of lists without a bound.
struct HORUS_API RosDefinition {
  static constexpr std::size_t kMostText = std::size_t{1} << 20;  ///< bytes that parse_ros2msg reads
  static constexpr std::size_t kMostTypes = 256;
  static constexpr std::size_t kMostNested = 32;    ///< types within types
  static constexpr std::size_t kMostFields = 4096;  ///< of all types together; the same for constants
  static constexpr std::size_t kMostName = 255;     ///< bytes of a name
  static constexpr std::uint16_t kNoType = UINT16_MAX;

  enum class Shape : std::uint8_t {
    one,
    array,             ///< `T[count]`
    sequence,          ///< `T[]`
    bounded_sequence,  ///< `T[<=count]`
  };

  /// `uint8 MODE_IDLE=0`. The value is the text behind `=`, quotation marks included.
  struct Constant {
    std::string type;
    std::string name;
    std::string value;
    bool operator==(const Constant&) const = default;
  };

  struct Field {
    std::string name;
    std::string type;     ///< "float64", "string", or a nested type's "geometry_msgs/msg/Pose"
    std::uint8_t id = 1;  ///< of one value in `type_description_interfaces/msg/FieldType`; 1: nested
    std::uint16_t nested = kNoType;  ///< index in `types`
    Shape shape = Shape::one;
    std::uint64_t count = 0;                    ///< of an array, or at most
    std::uint32_t text_bytes = 0;               ///< of `string<=n`; 0: no bound
    std::vector<Constant> constants = {};       ///< that stand before it
    std::string preset = {};                    ///< its value where none is set, as text; empty: zero
    std::size_t line = 0;                       ///< in the text that was read; 0: not read
    bool operator==(const Field& other) const;  ///< wherever it was read
  };

  struct Type {
    std::string name;  ///< "geometry_msgs/msg/Pose"
    std::vector<Field> fields;
    std::vector<Constant> constants = {};  ///< behind the last field
    bool operator==(const Type&) const = default;
  };

  std::vector<Type> types;  ///< the message's own first
  bool operator==(const RosDefinition&) const = default;

  [[nodiscard]] const Type& root() const noexcept { return types.front(); }
};

/// Reads a definition that may come from anybody: a .msg file, behind which those of nested types may stand, each after a line
/// of `=` and a line `MSG: geometry_msgs/Pose`. `name` is that of the message, "rover_msgs/msg/Drive" or "rover_msgs/Drive".
///
/// A type without a package is of its user's package; `Header` is `std_msgs/Header` where that has none. The types
/// `builtin_interfaces/Time` and `Duration` (also `time` and `duration`) need no definition.
/// Errors: kBadInput with the line and the reason: a line that is none, a type without definition, one that contains itself,
/// a name that is there twice, more than the limits allow.
/// Source: https://mcap.dev/spec/registry#ros2msg,
/// https://docs.ros.org/en/jazzy/Concepts/Basic/About-Interfaces.html
HORUS_API Result<RosDefinition> parse_ros2msg(std::string_view name, std::string_view text);

/// Gives the text of a type's own .msg file, for "rover_msgs/msg/Wheel"; nothing where there is none.
using RosDefinitionFinder = std::function<std::optional<std::string>(std::string_view type)>;

/// The same for a definition whose nested types stand elsewhere: `find` is asked for each that is missing. An error in such a text
/// names the type before the line.
HORUS_API Result<RosDefinition> parse_ros2msg(std::string_view name, std::string_view text,
                                              const RosDefinitionFinder& find);

/// The same definition as text, without comments. `ros2msg(parse_ros2msg(name, ros2msg(description)))` is `ros2msg(description)`.
HORUS_API std::string ros2msg(const RosDefinition& definition);

/// REP 2016's hash of the type: "RIHS01_" and 64 hexadecimal digits.
HORUS_API std::string ros_type_hash(const RosDefinition& definition);

}  // namespace horus::HORUS_ABI
