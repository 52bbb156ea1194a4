// SPDX-License-Identifier: Apache-2.0
// Constants and presets in ROS' own messages, which follow no rule that enumerations could keep. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string_view>
#include <vector>

namespace horus::HORUS_ABI::msg {

/// What stands at a field of a standard type.
struct RosExtra {
  std::string_view type;
  std::string_view field;
  std::vector<std::string_view> constants;
  std::string_view preset;
};

inline const std::vector<RosExtra>& ros_extras() {
  static const std::vector<RosExtra> extras{
      {"geometry_msgs/msg/Quaternion", "x", {}, "0"},
      {"geometry_msgs/msg/Quaternion", "y", {}, "0"},
      {"geometry_msgs/msg/Quaternion", "z", {}, "0"},
      {"geometry_msgs/msg/Quaternion", "w", {}, "1"},
      {"sensor_msgs/msg/BatteryState",
       "header",
       {"uint8 POWER_SUPPLY_STATUS_UNKNOWN=0",
        "uint8 POWER_SUPPLY_STATUS_CHARGING=1",
        "uint8 POWER_SUPPLY_STATUS_DISCHARGING=2",
        "uint8 POWER_SUPPLY_STATUS_NOT_CHARGING=3",
        "uint8 POWER_SUPPLY_STATUS_FULL=4",
        "uint8 POWER_SUPPLY_HEALTH_UNKNOWN=0",
        "uint8 POWER_SUPPLY_HEALTH_GOOD=1",
        "uint8 POWER_SUPPLY_HEALTH_OVERHEAT=2",
        "uint8 POWER_SUPPLY_HEALTH_DEAD=3",
        "uint8 POWER_SUPPLY_HEALTH_OVERVOLTAGE=4",
        "uint8 POWER_SUPPLY_HEALTH_UNSPEC_FAILURE=5",
        "uint8 POWER_SUPPLY_HEALTH_COLD=6",
        "uint8 POWER_SUPPLY_HEALTH_WATCHDOG_TIMER_EXPIRE=7",
        "uint8 POWER_SUPPLY_HEALTH_SAFETY_TIMER_EXPIRE=8",
        "uint8 POWER_SUPPLY_TECHNOLOGY_UNKNOWN=0",
        "uint8 POWER_SUPPLY_TECHNOLOGY_NIMH=1",
        "uint8 POWER_SUPPLY_TECHNOLOGY_LION=2",
        "uint8 POWER_SUPPLY_TECHNOLOGY_LIPO=3",
        "uint8 POWER_SUPPLY_TECHNOLOGY_LIFE=4",
        "uint8 POWER_SUPPLY_TECHNOLOGY_NICD=5",
        "uint8 POWER_SUPPLY_TECHNOLOGY_LIMN=6",
        "uint8 POWER_SUPPLY_TECHNOLOGY_TERNARY=7",
        "uint8 POWER_SUPPLY_TECHNOLOGY_VRLA=8"},
       {}},
      {"sensor_msgs/msg/BatteryState", "power_supply_status", {}, {}},
      {"sensor_msgs/msg/BatteryState", "power_supply_health", {}, {}},
      {"sensor_msgs/msg/BatteryState", "power_supply_technology", {}, {}},
      {"sensor_msgs/msg/NavSatStatus",
       "status",
       {"int8 STATUS_UNKNOWN=-2", "int8 STATUS_NO_FIX=-1", "int8 STATUS_FIX=0", "int8 STATUS_SBAS_FIX=1",
        "int8 STATUS_GBAS_FIX=2"},
       "-2"},
      {"sensor_msgs/msg/NavSatStatus",
       "service",
       {"uint16 SERVICE_UNKNOWN=0", "uint16 SERVICE_GPS=1", "uint16 SERVICE_GLONASS=2",
        "uint16 SERVICE_COMPASS=4", "uint16 SERVICE_GALILEO=8"},
       {}},
      {"sensor_msgs/msg/NavSatFix",
       "position_covariance_type",
       {"uint8 COVARIANCE_TYPE_UNKNOWN=0", "uint8 COVARIANCE_TYPE_APPROXIMATED=1",
        "uint8 COVARIANCE_TYPE_DIAGONAL_KNOWN=2", "uint8 COVARIANCE_TYPE_KNOWN=3"},
       {}},
      {"sensor_msgs/msg/Range", "radiation_type", {"uint8 ULTRASOUND=0", "uint8 INFRARED=1"}, {}},
      {"sensor_msgs/msg/PointField",
       "name",
       {"uint8 INT8=1", "uint8 UINT8=2", "uint8 INT16=3", "uint8 UINT16=4", "uint8 INT32=5", "uint8 UINT32=6",
        "uint8 FLOAT32=7", "uint8 FLOAT64=8"},
       {}},
      {"sensor_msgs/msg/PointField", "datatype", {}, {}},
      {"diagnostic_msgs/msg/DiagnosticStatus",
       "level",
       {"byte OK=0", "byte WARN=1", "byte ERROR=2", "byte STALE=3"},
       {}},
      {"rcl_interfaces/msg/Log",
       "stamp",
       {"byte DEBUG=10", "byte INFO=20", "byte WARN=30", "byte ERROR=40", "byte FATAL=50"},
       {}},
      {"rcl_interfaces/msg/Log", "level", {}, {}},
  };
  return extras;
}

}  // namespace horus::HORUS_ABI::msg
