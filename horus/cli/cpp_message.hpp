// SPDX-License-Identifier: Apache-2.0
// The C++ structs of ROS messages, as text. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/ros_definition.hpp>

namespace horus::cli {

struct CppOptions {
  std::string space = {};         ///< namespace of all structs; empty: each type's package
  std::uint32_t most = 16;        ///< values of a list without a bound that is not the tail
  std::uint32_t text_bytes = 64;  ///< of a string without a bound
  std::string tail = {};          ///< the list that is the tail; empty: the only one without a bound
};

struct CppText {
  std::string text;
  std::vector<std::string> notes;  ///< in what the structs are not the same as the messages
};

/// A header with the structs of all types. Types that Horus has ready are used from there. Each definition has all types that it
/// uses; the first type of each is a message of its own.
/// Errors: kBadInput with type and line: what no struct can hold.
Result<CppText> to_cpp(const std::vector<RosDefinition>& messages, const CppOptions& options);

/// "horus::messages::Header" for "std_msgs/msg/Header"; empty: Horus has no such struct that may be a field.
std::string_view ready_struct(std::string_view ros_name);
/// Its definition and those of the types that it uses.
std::string ready_definition(std::string_view ros_name);

}  // namespace horus::cli
