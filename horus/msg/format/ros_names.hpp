// SPDX-License-Identifier: Apache-2.0
// Which names ROS allows: https://docs.ros.org/en/jazzy/Concepts/Basic/About-Interfaces.html. Pure functions; any thread.
// Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string_view>

namespace horus::HORUS_ABI::msg {

inline bool is_small(char c) { return c >= 'a' && c <= 'z'; }
inline bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Of C++ and Python.
inline bool is_field_name(std::string_view name) {
  if (name.empty() || is_digit(name.front())) return false;
  for (const char c : name)
    if (!is_small(c) && !is_capital(c) && !is_digit(c) && c != '_') return false;
  return true;
}

/// "frame_id": small letters, digits and single underscores within.
inline bool is_ros_field(std::string_view name) {
  if (name.empty() || !is_small(name.front()) || name.back() == '_') return false;
  char before = 0;
  for (const char c : name) {
    if ((!is_small(c) && !is_digit(c) && c != '_') || (c == '_' && before == '_')) return false;
    before = c;
  }
  return true;
}

/// "sensor_msgs/msg/Imu".
inline bool is_ros_type(std::string_view name) {
  constexpr std::string_view kMiddle = "/msg/";
  const std::size_t slash = name.find(kMiddle);
  if (slash == std::string_view::npos || !is_ros_field(name.substr(0, slash))) return false;
  const std::string_view type = name.substr(slash + kMiddle.size());
  if (type.empty() || !is_capital(type.front())) return false;
  for (const char c : type)
    if (!is_small(c) && !is_capital(c) && !is_digit(c)) return false;
  return true;
}

}  // namespace horus::HORUS_ABI::msg
