// SPDX-License-Identifier: Apache-2.0
// Writes random messages of every ready type, one line of JSON each: the type's name and definition in ROS, the message in CDR
// and its values. Other projects' readers say whether they find the same in it (check.mjs).
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <horus/msg/cdr.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/msg/ros.hpp>

#include "../../support/random_message.hpp"

namespace {

using namespace horus;

std::string quoted(std::string_view text) {
  std::string made = "\"";
  for (const char c : text) {
    if (c == '\n') {
      made += "\\n";
    } else {
      if (c == '"' || c == '\\') made += '\\';
      made += c;
    }
  }
  return made + "\"";
}

template <class T>
void write(int count) {
  test::MessageMaker maker(2026);
  const Description& type = describe<T>();
  for (int i = 0; i < count; ++i) {
    const test::RandomMessage message = maker.make(type);
    std::vector<std::byte> cdr(cdr_of<T>().size(message.head, message.tail).or_throw());
    cdr_of<T>().write(message.head, message.tail, cdr).or_throw();
    std::string digits;
    for (const std::byte byte : cdr) digits += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
    fmt::print("{{\"type\":{},\"definition\":{},\"cdr\":\"{}\",\"values\":{}}}\n", quoted(ros_name(type)),
               quoted(ros2msg(type)), digits,
               to_json(type, message.head, message.tail, JsonStyle::ros).or_throw());
  }
}

template <class... T>
void write_each(int count) {
  (write<T>(count), ...);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace messages;
  write_each<std::string, Header, Point, Vector3, Quaternion, Pose, Twist, PoseWithCovariance,
             TwistWithCovariance, Odometry, Imu, JointState, LaserScan, BatteryState, NavSatFix, Image,
             PointCloud, Temperature, MagneticField, Range, Joy, PoseStamped, TwistStamped, Transform,
             TransformStamped, TFMessage, Path, MapMetaData, OccupancyGrid, CompressedImage, RegionOfInterest,
             CameraInfo, PointField, PointCloud2, KeyValue, DiagnosticStatus, DiagnosticArray, Log>(
      argc > 1 ? std::atoi(argv[1]) : 100);
  return 0;
}
