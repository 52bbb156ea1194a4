// SPDX-License-Identifier: Apache-2.0
// Ready messages for robots, with the field names of ROS' sensor_msgs, geometry_msgs and nav_msgs. Plain values without
// padding, the same bytes from every compiler; any thread.
//
// Units are SI: metres, seconds, radians, kilograms, volts, amperes, degrees Celsius. Bodies have x forward, y left,
// z up (ROS REP 103); frames are named by `Header::frame_id` (REP 105). The part of a message whose length varies is
// its tail: `publisher.loan(n)`, or `publisher.send(head, tail)`.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include <horus/msg/about.hpp>
#include <horus/msg/layout.hpp>

namespace horus::HORUS_ABI::messages {

using horus::Text;

/// When and in which frame something was measured.
struct Header {
  /// Nanoseconds of horus::now_ns(), or of a clock that several machines share.
  std::int64_t stamp_ns = 0;
  Text<32> frame_id{};  ///< "base_link"

  [[nodiscard]] constexpr std::string_view frame() const noexcept { return frame_id.view(); }
  /// False when the name was cut to 32 bytes.
  constexpr bool set_frame(std::string_view name) noexcept { return frame_id.set(name); }
};
HORUS_MESSAGE(Header, stamp_ns, frame_id);
inline void horus_about(About& about, const Header* /*type*/) {
  about.ros("std_msgs/msg/Header");
  about.field("stamp_ns").stamp().ros("stamp");
}

/// A place, metres.
struct Point {
  double x = 0, y = 0, z = 0;
};
HORUS_MESSAGE(Point, x, y, z);
inline void horus_about(About& about, const Point* /*type*/) { about.ros("geometry_msgs/msg/Point"); }

/// A direction with a length; the field that holds it gives the unit.
struct Vector3 {
  double x = 0, y = 0, z = 0;
};
HORUS_MESSAGE(Vector3, x, y, z);
inline void horus_about(About& about, const Vector3* /*type*/) { about.ros("geometry_msgs/msg/Vector3"); }

/// A rotation, of length 1. The default is no rotation.
struct Quaternion {
  double x = 0, y = 0, z = 0, w = 1;
};
HORUS_MESSAGE(Quaternion, x, y, z, w);
inline void horus_about(About& about, const Quaternion* /*type*/) {
  about.ros("geometry_msgs/msg/Quaternion");
}

/// Place and orientation of a body in a frame.
struct Pose {
  Point position;
  Quaternion orientation;
};
HORUS_MESSAGE(Pose, position, orientation);
inline void horus_about(About& about, const Pose* /*type*/) { about.ros("geometry_msgs/msg/Pose"); }

/// Velocity of a body: also the usual command to a base ("cmd_vel").
struct Twist {
  Vector3 linear;   ///< m/s
  Vector3 angular;  ///< rad/s, about x, y and z
};
HORUS_MESSAGE(Twist, linear, angular);
inline void horus_about(About& about, const Twist* /*type*/) { about.ros("geometry_msgs/msg/Twist"); }

/// Row-major 6 × 6 over x, y, z, and rotation about x, y, z.
struct PoseWithCovariance {
  Pose pose;
  std::array<double, 36> covariance{};  ///< m², rad²
};
HORUS_MESSAGE(PoseWithCovariance, pose, covariance);
inline void horus_about(About& about, const PoseWithCovariance* /*type*/) {
  about.ros("geometry_msgs/msg/PoseWithCovariance");
}

/// Row-major 6 × 6 over linear x, y, z and angular x, y, z.
struct TwistWithCovariance {
  Twist twist;
  std::array<double, 36> covariance{};  ///< (m/s)², (rad/s)²
};
HORUS_MESSAGE(TwistWithCovariance, twist, covariance);
inline void horus_about(About& about, const TwistWithCovariance* /*type*/) {
  about.ros("geometry_msgs/msg/TwistWithCovariance");
}

/// A robot's estimate of where it is and how it moves.
struct Odometry {
  Header header;              ///< frame of `pose`, "odom"
  Text<32> child_frame_id{};  ///< the robot, and frame of `twist`: "base_link"
  PoseWithCovariance pose;
  TwistWithCovariance twist;
};
HORUS_MESSAGE(Odometry, header, child_frame_id, pose, twist);
inline void horus_about(About& about, const Odometry* /*type*/) { about.ros("nav_msgs/msg/Odometry"); }

/// An inertial measurement unit. Covariances are row-major 3 × 3 about x, y, z; all zero: unknown. A first element of
/// -1 means that the device does not measure that quantity.
struct Imu {
  Header header;
  Quaternion orientation;
  std::array<double, 9> orientation_covariance{};  ///< rad²
  Vector3 angular_velocity;                        ///< rad/s
  std::array<double, 9> angular_velocity_covariance{};
  Vector3 linear_acceleration;  ///< m/s², gravity included: a device at rest measures +9.8 upwards
  std::array<double, 9> linear_acceleration_covariance{};
};
HORUS_MESSAGE(Imu, header, orientation, orientation_covariance, angular_velocity, angular_velocity_covariance,
              linear_acceleration, linear_acceleration_covariance);
inline void horus_about(About& about, const Imu* /*type*/) { about.ros("sensor_msgs/msg/Imu"); }

/// One joint of a JointState. NaN where a quantity is not known.
struct Joint {
  Text<32> name{};
  double position = 0;  ///< rad, or m of a sliding joint
  double velocity = 0;  ///< rad/s or m/s
  double effort = 0;    ///< N·m or N
};
HORUS_MESSAGE(Joint, name, position, velocity, effort);

/// The joints of a robot; each element of the tail is one joint.
struct JointState {
  Header header;
  using Tail = Joint;
};
HORUS_MESSAGE(JointState, header);

/// One turn of a planar range finder. The tail has `beams` ranges and then, from devices that measure them, as many
/// intensities, so that each of the two is one array: `scan->ranges(scan.tail())`.
struct LaserScan {
  Header header;              ///< `stamp_ns` is that of the first beam; angles turn about z of the frame
  float angle_min = 0;        ///< rad, of the first beam; 0 is along x
  float angle_max = 0;        ///< rad, of the last
  float angle_increment = 0;  ///< rad, between two beams
  float time_increment = 0;   ///< s, between two beams
  float scan_time = 0;        ///< s, between two scans
  float range_min = 0;        ///< m; discard values below it
  float range_max = 0;        ///< m; discard values above it
  std::uint32_t beams = 0;
  using Tail = float;

  /// Metres.
  [[nodiscard]] std::span<const float> ranges(std::span<const float> tail) const noexcept {
    return tail.first(std::min<std::size_t>(beams, tail.size()));
  }
  /// In the device's own unit; empty when the device measures none.
  [[nodiscard]] std::span<const float> intensities(std::span<const float> tail) const noexcept {
    const auto rest = tail.subspan(ranges(tail).size());
    return rest.first(std::min<std::size_t>(beams, rest.size()));
  }
};
HORUS_MESSAGE(LaserScan, header, angle_min, angle_max, angle_increment, time_increment, scan_time, range_min,
              range_max, beams);

enum class PowerSupplyStatus : std::uint8_t { unknown, charging, discharging, not_charging, full };
HORUS_ENUM(PowerSupplyStatus, unknown, charging, discharging, not_charging, full);
enum class PowerSupplyHealth : std::uint8_t {
  unknown,
  good,
  overheat,
  dead,
  overvoltage,
  unspecified_failure,
  cold,
  watchdog_timer_expire,
  safety_timer_expire,
};
HORUS_ENUM(PowerSupplyHealth, unknown, good, overheat, dead, overvoltage, unspecified_failure, cold,
           watchdog_timer_expire, safety_timer_expire);
enum class PowerSupplyTechnology : std::uint8_t { unknown, nimh, lion, lipo, life, nicd, limn };
HORUS_ENUM(PowerSupplyTechnology, unknown, nimh, lion, lipo, life, nicd, limn);

/// A battery. NaN where a quantity is not measured.
struct BatteryState {
  Header header;
  float voltage = 0;          ///< V
  float temperature = 0;      ///< °C
  float current = 0;          ///< A, negative while it discharges
  float charge = 0;           ///< Ah, left
  float capacity = 0;         ///< Ah, when it was last full
  float design_capacity = 0;  ///< Ah
  float percentage = 0;       ///< 0 to 1
  PowerSupplyStatus power_supply_status = PowerSupplyStatus::unknown;
  PowerSupplyHealth power_supply_health = PowerSupplyHealth::unknown;
  PowerSupplyTechnology power_supply_technology = PowerSupplyTechnology::unknown;
  bool present = false;
  std::uint32_t cell_voltage_count = 0;      ///< entries of `cell_voltage` that are filled in
  std::uint32_t cell_temperature_count = 0;  ///< entries of `cell_temperature` that are filled in
  std::array<float, 32> cell_voltage{};      ///< V
  std::array<float, 32> cell_temperature{};  ///< °C
  Text<32> location{};                       ///< "slot 1"
  Text<32> serial_number{};
};
HORUS_MESSAGE(BatteryState, header, voltage, temperature, current, charge, capacity, design_capacity,
              percentage, power_supply_status, power_supply_health, power_supply_technology, present,
              cell_voltage_count, cell_temperature_count, cell_voltage, cell_temperature, location,
              serial_number);
inline void horus_about(About& about, const BatteryState* /*type*/) {
  about.ros("sensor_msgs/msg/BatteryState");
  about.field("cell_voltage").counted_by("cell_voltage_count").unit("V");
  about.field("cell_temperature").counted_by("cell_temperature_count").unit("°C");
}

enum class NavSatFixStatus : std::int16_t { no_fix = -1, fix = 0, sbas_fix = 1, gbas_fix = 2 };
HORUS_ENUM(NavSatFixStatus, no_fix, fix, sbas_fix, gbas_fix);

/// How a satellite fix was obtained.
struct NavSatStatus {
  static constexpr std::uint16_t kGps = 1, kGlonass = 2, kCompass = 4, kGalileo = 8;

  NavSatFixStatus status = NavSatFixStatus::no_fix;
  std::uint16_t service = 0;  ///< systems that were used: kGps | kGalileo
};
HORUS_MESSAGE(NavSatStatus, status, service);

enum class CovarianceType : std::uint32_t { unknown, approximated, diagonal_known, known };
HORUS_ENUM(CovarianceType, unknown, approximated, diagonal_known, known);

/// A position from a satellite navigation receiver, on the WGS 84 ellipsoid.
struct NavSatFix {
  Header header;  ///< frame of the antenna
  NavSatStatus status;
  CovarianceType position_covariance_type = CovarianceType::unknown;
  double latitude = 0;                          ///< degrees, north positive
  double longitude = 0;                         ///< degrees, east positive
  double altitude = 0;                          ///< m above the ellipsoid; NaN without
  std::array<double, 9> position_covariance{};  ///< m², row-major over east, north, up
};
HORUS_MESSAGE(NavSatFix, header, status, position_covariance_type, latitude, longitude, altitude,
              position_covariance);

/// An uncompressed picture; its rows are the tail, `step` bytes each.
struct Image {
  Header header;             ///< frame of the optics: z into the picture, x right, y down
  std::uint32_t height = 0;  ///< rows
  std::uint32_t width = 0;   ///< pixels of a row
  Text<16> encoding{};       ///< "rgb8", "bgr8", "mono8", "16UC1", … as in sensor_msgs/image_encodings.h
  std::uint32_t step = 0;    ///< bytes from one row to the next
  std::uint32_t is_bigendian = 0;  ///< 1: in pixels of several bytes, the most significant byte comes first
  using Tail = std::uint8_t;

  /// Row `y` of the tail; empty when the tail is shorter than the head says.
  [[nodiscard]] std::span<const std::uint8_t> row(std::span<const std::uint8_t> tail,
                                                  std::uint32_t y) const noexcept {
    const std::uint64_t start = std::uint64_t{y} * step;
    if (y >= height || start + step > tail.size()) return {};
    return tail.subspan(start, step);
  }
};
HORUS_MESSAGE(Image, header, height, width, encoding, step, is_bigendian);

/// A point of a PointCloud.
struct CloudPoint {
  float x = 0, y = 0, z = 0;  ///< m; NaN where nothing was hit
  float intensity = 0;        ///< in the device's own unit
};
HORUS_MESSAGE(CloudPoint, x, y, z, intensity);

/// Points in space, the tail; row by row when they come from a device with rows.
struct PointCloud {
  Header header;
  std::uint32_t height = 1;                       ///< rows; 1: unordered points
  std::uint32_t width = 0;                        ///< points of a row
  std::uint32_t point_step = sizeof(CloudPoint);  ///< bytes from one point to the next
  std::uint32_t is_dense = 0;                     ///< 1: no point is NaN
  using Tail = CloudPoint;
};
HORUS_MESSAGE(PointCloud, header, height, width, point_step, is_dense);

// The sum of its fields' sizes: no compiler has put padding anywhere. Other languages and machines rely on these.
static_assert(sizeof(Header) == 40 && sizeof(Point) == 24 && sizeof(Vector3) == 24 &&
              sizeof(Quaternion) == 32);
static_assert(sizeof(Pose) == 56 && sizeof(Twist) == 48);
static_assert(sizeof(PoseWithCovariance) == 344 && sizeof(TwistWithCovariance) == 336);
static_assert(sizeof(Odometry) == 40 + 32 + 344 + 336);
static_assert(sizeof(Imu) == 40 + 32 + 24 + 24 + 3 * 72);
static_assert(sizeof(Joint) == 56 && sizeof(JointState) == 40);
static_assert(sizeof(LaserScan) == 40 + 7 * 4 + 4);
static_assert(sizeof(BatteryState) == 40 + 7 * 4 + 4 + 2 * 4 + 2 * 128 + 2 * 32);
static_assert(sizeof(NavSatStatus) == 4 && sizeof(NavSatFix) == 40 + 4 + 4 + 3 * 8 + 72);
static_assert(sizeof(Image) == 40 + 4 * 4 + 16 && sizeof(CloudPoint) == 16 &&
              sizeof(PointCloud) == 40 + 4 * 4);

}  // namespace horus::HORUS_ABI::messages
