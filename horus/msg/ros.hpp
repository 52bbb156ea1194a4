// SPDX-License-Identifier: Apache-2.0
// What ROS 2 calls a message and its parts, from the message's description. Pure functions; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <string>

#include <horus/base/export.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI {

/// The message's name in ROS, "sensor_msgs/msg/Imu": the one that `horus_about` tells. Without one it follows from the C++
/// name: the namespaces in small letters, joined by `_`, are the package; "rover::arm::Joint" is "rover_arm/msg/Joint".
/// A type in no namespace belongs to the package "horus_user".
HORUS_API std::string ros_name(const Description& description);

/// The message's definition as a .msg file has it, followed by those of all nested types, as MCAP's "ros2msg" and Foxglove
/// expect it: before each nested one a line of 80 `=`, and a line `MSG: geometry_msgs/Pose`.
///
/// Short text is `string`, a Sequence and a tail are `T[]`, an array of arrays is one array, a Stamp is
/// `builtin_interfaces/Time`, an enumeration is an integer and constants before it (`uint8 MODE_IDLE=0`). Values that ROS
/// does not have (long double, undescribed structs) are `uint8[n]`. Field names become ROS' kind: `frameId` is `frame_id`.
HORUS_API std::string ros2msg(const Description& description);

/// REP 2016's hash of the type, "RIHS01_" and 64 hexadecimal digits: what ROS 2 programs compare.
HORUS_API std::string ros_type_hash(const Description& description);

}  // namespace horus::HORUS_ABI
