// SPDX-License-Identifier: Apache-2.0
// What a message's author tells about it beyond its bytes: its ROS name, units, the tail's name and place. Told once, when
// a program first asks for the description; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

struct Description;

/// Given to `horus_about(horus::About&, const T*)`, a function that may stand beside a described struct, in its namespace:
/// `inline void horus_about(horus::About& a, const Drive*) { a.ros("rover_msgs/msg/Drive"); }`.
///
/// Each call throws Error (kBadInput) where it names a field that is not there, or says what cannot be; so does the first
/// `describe<T>()`.
class HORUS_API About {
 public:
  class Field;

  /// The type's name in ROS, "rover_msgs/msg/Drive". Without it the name follows from the C++ name: "rover/msg/Drive".
  About& ros(std::string_view name);
  /// One of the described fields.
  Field field(std::string_view name);
  /// The tail's name ("tail" without it), the unit of its elements, and where it stands among the fields for programs of
  /// other kinds: "after FIELD", "first", or last when empty.
  About& tail(std::string_view name, std::string_view unit = "", std::string_view place = "");

  /// `has_tail`: T has one. Only the outermost type of a message keeps what is told about it. Internal.
  About(Description& description, std::uint16_t type, bool has_tail) noexcept
      : description_(description), type_(type), has_tail_(has_tail) {}

 private:
  std::uint16_t find(std::string_view name) const;

  Description& description_;
  std::uint16_t type_;
  bool has_tail_;
};

/// One field; each call gives the same again: `a.field("speed").unit("m/s").ros("speed_mps")`.
class HORUS_API About::Field {
 public:
  /// "m/s", "rad"; shown by tools.
  Field& unit(std::string_view name);
  /// The field's name in ROS where it is another.
  Field& ros(std::string_view name);
  /// This std::int64_t counts nanoseconds, as a horus::Stamp does: a `builtin_interfaces/Time` in ROS.
  Field& stamp();
  /// Of this array only the first elements count, as many as the std::uint32_t field `name` says: a sequence in ROS, which does
  /// not have that other field.
  Field& counted_by(std::string_view name);

  Field(About& about, std::uint16_t member) noexcept : about_(about), member_(member) {}

 private:
  About& about_;
  std::uint16_t member_;
};

}  // namespace horus::HORUS_ABI
