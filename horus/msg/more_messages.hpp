// SPDX-License-Identifier: Apache-2.0
// More ready messages with the fields, the order and the names of ROS 2 (Jazzy), beside those of messages.hpp. Text and lists
// in them have a bound, which stands at the field. Plain values; any thread.
//
// Units are SI, frames are named as there. What stands behind a struct is its tail: `publisher.send(head, tail)`.
// A text is `std::string`, ROS' std_msgs/msg/String.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <horus/msg/about.hpp>
#include <horus/msg/fields.hpp>
#include <horus/msg/messages.hpp>

namespace horus::HORUS_ABI::messages {

using horus::Sequence;
using horus::Stamp;

// --- Measurements --------------------------------------------------------------------------------------------------------

struct Temperature {
  Header header;
  double temperature = 0;  ///< °C
  double variance = 0;     ///< 0: unknown
};
HORUS_MESSAGE(Temperature, header, temperature, variance);
inline void horus_about(About& about, const Temperature* /*type*/) {
  about.ros("sensor_msgs/msg/Temperature").field("temperature").unit("°C");
}

struct MagneticField {
  Header header;
  Vector3 magnetic_field;                             ///< T; NaN on an axis that is not measured
  std::array<double, 9> magnetic_field_covariance{};  ///< T², row-major; all zero: unknown
};
HORUS_MESSAGE(MagneticField, header, magnetic_field, magnetic_field_covariance);
inline void horus_about(About& about, const MagneticField* /*type*/) {
  about.ros("sensor_msgs/msg/MagneticField").field("magnetic_field").unit("T");
}

enum class RadiationType : std::uint8_t { ultrasound, infrared };
HORUS_ENUM(RadiationType, ultrasound, infrared);

/// One distance along x of the frame.
struct Range {
  Header header;
  RadiationType radiation_type = RadiationType::ultrasound;
  float field_of_view = 0;  ///< rad, of the arc that is looked at
  float min_range = 0;      ///< m
  float max_range = 0;      ///< m
  float range = 0;          ///< m; -inf: closer than min_range, +inf: nothing there
  float variance = 0;       ///< m²; 0: unknown
};
HORUS_MESSAGE(Range, header, radiation_type, field_of_view, min_range, max_range, range, variance);
inline void horus_about(About& about, const Range* /*type*/) {
  about.ros("sensor_msgs/msg/Range").field("range").unit("m");
}

/// Axes and buttons of a game controller.
struct Joy {
  Header header;
  Sequence<float, 16> axes;            ///< -1 to 1
  Sequence<std::int32_t, 32> buttons;  ///< 1: pressed
};
HORUS_MESSAGE(Joy, header, axes, buttons);
inline void horus_about(About& about, const Joy* /*type*/) { about.ros("sensor_msgs/msg/Joy"); }

// --- Places and motions --------------------------------------------------------------------------------------------------

struct PoseStamped {
  Header header;
  Pose pose;
};
HORUS_MESSAGE(PoseStamped, header, pose);
inline void horus_about(About& about, const PoseStamped* /*type*/) {
  about.ros("geometry_msgs/msg/PoseStamped");
}

struct TwistStamped {
  Header header;
  Twist twist;
};
HORUS_MESSAGE(TwistStamped, header, twist);
inline void horus_about(About& about, const TwistStamped* /*type*/) {
  about.ros("geometry_msgs/msg/TwistStamped");
}

struct Transform {
  Vector3 translation;  ///< m
  Quaternion rotation;
};
HORUS_MESSAGE(Transform, translation, rotation);
inline void horus_about(About& about, const Transform* /*type*/) { about.ros("geometry_msgs/msg/Transform"); }

/// Where the frame `child_frame_id` lies in the frame of the header.
struct TransformStamped {
  Header header;
  Text<32> child_frame_id;
  Transform transform;
};
HORUS_MESSAGE(TransformStamped, header, child_frame_id, transform);
inline void horus_about(About& about, const TransformStamped* /*type*/) {
  about.ros("geometry_msgs/msg/TransformStamped");
}

/// The topics "tf" and "tf_static".
struct TFMessage {
  Sequence<TransformStamped, 64> transforms;  ///< more of them: several messages
};
HORUS_MESSAGE(TFMessage, transforms);
inline void horus_about(About& about, const TFMessage* /*type*/) { about.ros("tf2_msgs/msg/TFMessage"); }

/// A way to go; each element of the tail is one pose.
struct Path {
  Header header;
  using Tail = PoseStamped;
};
HORUS_MESSAGE(Path, header);
inline void horus_about(About& about, const Path* /*type*/) { about.ros("nav_msgs/msg/Path").tail("poses"); }

// --- Maps, pictures, clouds ----------------------------------------------------------------------------------------------

struct MapMetaData {
  Stamp map_load_time;
  float resolution = 0;                 ///< m of one cell
  std::uint32_t width = 0, height = 0;  ///< cells
  Pose origin;                          ///< of the corner of cell (0, 0)
};
HORUS_MESSAGE(MapMetaData, map_load_time, resolution, width, height, origin);
inline void horus_about(About& about, const MapMetaData* /*type*/) { about.ros("nav_msgs/msg/MapMetaData"); }

/// The tail has one value for each cell, row by row from (0, 0): 0 to 100, the probability that it is occupied; -1: unknown.
struct OccupancyGrid {
  Header header;
  MapMetaData info;
  using Tail = std::int8_t;
};
HORUS_MESSAGE(OccupancyGrid, header, info);
inline void horus_about(About& about, const OccupancyGrid* /*type*/) {
  about.ros("nav_msgs/msg/OccupancyGrid").tail("data", "%");
}

/// A picture as a file has it, which is the tail.
struct CompressedImage {
  Header header;
  Text<64> format;  ///< "jpeg", "png", …
  using Tail = std::uint8_t;
};
HORUS_MESSAGE(CompressedImage, header, format);
inline void horus_about(About& about, const CompressedImage* /*type*/) {
  about.ros("sensor_msgs/msg/CompressedImage").tail("data");
}

/// A part of a picture, pixels; all zero: all of it.
struct RegionOfInterest {
  std::uint32_t x_offset = 0, y_offset = 0, height = 0, width = 0;
  bool do_rectify = false;
};
HORUS_MESSAGE(RegionOfInterest, x_offset, y_offset, height, width, do_rectify);
inline void horus_about(About& about, const RegionOfInterest* /*type*/) {
  about.ros("sensor_msgs/msg/RegionOfInterest");
}

/// How a camera maps directions to pixels. Matrices are row-major.
struct CameraInfo {
  Header header;
  std::uint32_t height = 0, width = 0;  ///< pixels when it was calibrated
  Text<32> distortion_model;            ///< "plumb_bob"
  Sequence<double, 16> d;               ///< parameters of the distortion
  std::array<double, 9> k{};            ///< raw pictures' projection, 3 × 3
  std::array<double, 9> r{};            ///< rotation that rectifies, 3 × 3
  std::array<double, 12> p{};           ///< rectified pictures' projection, 3 × 4
  std::uint32_t binning_x = 0, binning_y = 0;
  RegionOfInterest roi;
};
HORUS_MESSAGE(CameraInfo, header, height, width, distortion_model, d, k, r, p, binning_x, binning_y, roi);
inline void horus_about(About& about, const CameraInfo* /*type*/) { about.ros("sensor_msgs/msg/CameraInfo"); }

enum class PointFieldType : std::uint8_t { int8 = 1, uint8, int16, uint16, int32, uint32, float32, float64 };
HORUS_ENUM(PointFieldType, int8, uint8, int16, uint16, int32, uint32, float32, float64);

/// One value of each point of a PointCloud2.
struct PointField {
  Text<32> name;             ///< "x", "intensity"
  std::uint32_t offset = 0;  ///< bytes from the start of the point
  PointFieldType datatype = PointFieldType::float32;
  std::uint32_t count = 1;
};
HORUS_MESSAGE(PointField, name, offset, datatype, count);
inline void horus_about(About& about, const PointField* /*type*/) { about.ros("sensor_msgs/msg/PointField"); }

/// Points of any fields; their bytes are the tail. For points of x, y, z and intensity, PointCloud is simpler, and the same
/// message in ROS.
struct PointCloud2 {
  Header header;
  std::uint32_t height = 1, width = 0;  ///< rows, and points of a row
  Sequence<PointField, 16> fields;
  bool is_bigendian = false;
  std::uint32_t point_step = 0;  ///< bytes from one point to the next
  std::uint32_t row_step = 0;    ///< bytes from one row to the next
  bool is_dense = false;         ///< no point is NaN
  using Tail = std::uint8_t;
};
HORUS_MESSAGE(PointCloud2, header, height, width, fields, is_bigendian, point_step, row_step, is_dense);
inline void horus_about(About& about, const PointCloud2* /*type*/) {
  about.ros("sensor_msgs/msg/PointCloud2").tail("data", "", "after row_step");
}

// --- How a robot is ------------------------------------------------------------------------------------------------------

struct KeyValue {
  Text<32> key;
  Text<64> value;
};
HORUS_MESSAGE(KeyValue, key, value);
inline void horus_about(About& about, const KeyValue* /*type*/) { about.ros("diagnostic_msgs/msg/KeyValue"); }

/// How one part of the robot is.
struct DiagnosticStatus {
  static constexpr std::byte kOk{0}, kWarn{1}, kError{2}, kStale{3};

  std::byte level = kOk;
  Text<64> name;
  Text<128> message;
  Text<64> hardware_id;
  Sequence<KeyValue, 16> values;
};
HORUS_MESSAGE(DiagnosticStatus, level, name, message, hardware_id, values);
inline void horus_about(About& about, const DiagnosticStatus* /*type*/) {
  about.ros("diagnostic_msgs/msg/DiagnosticStatus");
}

/// Each element of the tail is one part of the robot.
struct DiagnosticArray {
  Header header;
  using Tail = DiagnosticStatus;
};
HORUS_MESSAGE(DiagnosticArray, header);
inline void horus_about(About& about, const DiagnosticArray* /*type*/) {
  about.ros("diagnostic_msgs/msg/DiagnosticArray").tail("status");
}

enum class LogLevel : std::uint8_t { debug = 10, info = 20, warn = 30, error = 40, fatal = 50 };
HORUS_ENUM(LogLevel, debug, info, warn, error, fatal);

/// A line of a log, as ROS has on "rosout"; its text is the tail.
struct Log {
  Stamp stamp;
  LogLevel level = LogLevel::info;
  Text<64> name;   ///< of the node
  Text<128> file;  ///< of the source
  Text<128> function;
  std::uint32_t line = 0;
  using Tail = char;
};
HORUS_MESSAGE(Log, stamp, level, name, file, function, line);
inline void horus_about(About& about, const Log* /*type*/) {
  about.ros("rcl_interfaces/msg/Log").tail("msg", "", "after name");
}

/// The time of a simulation or a recording, as ROS has it on "clock".
struct Clock {
  Stamp clock;
};
HORUS_MESSAGE(Clock, clock);
inline void horus_about(About& about, const Clock* /*type*/) { about.ros("rosgraph_msgs/msg/Clock"); }

}  // namespace horus::HORUS_ABI::messages
