// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/codec/ready_messages.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

#include <horus/msg/messages.hpp>

namespace horus::msg {

// What ROS has instead, for its names and types: no value of these is made, so no list has more than one element.
namespace in_ros {

using messages::Header;
template <class T>
using List = Sequence<T, 1>;

struct JointState {
  Header header;
  List<Text<1>> name;
  List<double> position, velocity, effort;
};
HORUS_MESSAGE(JointState, header, name, position, velocity, effort);
inline void horus_about(About& about, const JointState* /*type*/) { about.ros("sensor_msgs/msg/JointState"); }

struct LaserScan {
  Header header;
  float angle_min, angle_max, angle_increment, time_increment, scan_time, range_min, range_max;
  List<float> ranges, intensities;
};
HORUS_MESSAGE(LaserScan, header, angle_min, angle_max, angle_increment, time_increment, scan_time, range_min,
              range_max, ranges, intensities);
inline void horus_about(About& about, const LaserScan* /*type*/) { about.ros("sensor_msgs/msg/LaserScan"); }

struct NavSatStatus {
  std::int8_t status;
  std::uint16_t service;
};
HORUS_MESSAGE(NavSatStatus, status, service);
inline void horus_about(About& about, const NavSatStatus* /*type*/) {
  about.ros("sensor_msgs/msg/NavSatStatus");
}

struct NavSatFix {
  Header header;
  NavSatStatus status;
  double latitude, longitude, altitude;
  std::array<double, 9> position_covariance;
  std::uint8_t position_covariance_type;
};
HORUS_MESSAGE(NavSatFix, header, status, latitude, longitude, altitude, position_covariance,
              position_covariance_type);
inline void horus_about(About& about, const NavSatFix* /*type*/) { about.ros("sensor_msgs/msg/NavSatFix"); }

struct Image {
  Header header;
  std::uint32_t height, width;
  Text<1> encoding;
  std::uint8_t is_bigendian;
  std::uint32_t step;
  List<std::uint8_t> data;
};
HORUS_MESSAGE(Image, header, height, width, encoding, is_bigendian, step, data);
inline void horus_about(About& about, const Image* /*type*/) { about.ros("sensor_msgs/msg/Image"); }

struct PointField {
  Text<1> name;
  std::uint32_t offset;
  std::uint8_t datatype;
  std::uint32_t count;
};
HORUS_MESSAGE(PointField, name, offset, datatype, count);
inline void horus_about(About& about, const PointField* /*type*/) { about.ros("sensor_msgs/msg/PointField"); }

struct PointCloud {
  Header header;
  std::uint32_t height, width;
  List<PointField> fields;
  bool is_bigendian;
  std::uint32_t point_step, row_step;
  List<std::uint8_t> data;
  bool is_dense;
};
HORUS_MESSAGE(PointCloud, header, height, width, fields, is_bigendian, point_step, row_step, data, is_dense);
inline void horus_about(About& about, const PointCloud* /*type*/) {
  about.ros("sensor_msgs/msg/PointCloud2");
}

}  // namespace in_ros

namespace {

constexpr std::array kReady{
    ReadyMessage{&describe<messages::JointState>, &describe<in_ros::JointState>},
    ReadyMessage{&describe<messages::LaserScan>, &describe<in_ros::LaserScan>},
    ReadyMessage{&describe<messages::NavSatFix>, &describe<in_ros::NavSatFix>},
    ReadyMessage{&describe<messages::Image>, &describe<in_ros::Image>},
    ReadyMessage{&describe<messages::PointCloud>, &describe<in_ros::PointCloud>},
};

}  // namespace

const ReadyMessage* find_ready_message(const Description& description) {
  for (const ReadyMessage& ready : kReady) {
    const Description& mine = ready.described();
    if (mine.root().name == description.root().name && mine.layout().hash == description.layout().hash)
      return &ready;
  }
  return nullptr;
}

}  // namespace horus::msg
