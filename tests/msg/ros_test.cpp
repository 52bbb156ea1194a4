// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/ros.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

namespace rover::arm {

enum class Mode : std::uint8_t { idle, driveFast, dock = 7 };
HORUS_ENUM(Mode, idle, driveFast, dock);
namespace other {
enum class Mode : std::int8_t { idle = -1 };
HORUS_ENUM(Mode, idle);
}  // namespace other
struct Wheel {
  double speed = 0;
  float torque = 0;
};
HORUS_MESSAGE(Wheel, speed, torque);
struct Plain {
  int a;
};
template <int size>
struct Grid {
  float cells[size][2];
};
template <class Visitor>
horus::detail::FieldsOf<Grid<3>> horus_describe(const Grid<3>* /*type*/, Visitor& visit) {
  visit.template field<float[3][2]>("cells", 0);
  return {};
}
struct Drive {
  horus::Stamp stamp;
  horus::Text<32> frameId;
  std::array<Wheel, 4> wheels;
  horus::Sequence<Wheel, 8> spare_;
  Mode mode = Mode::idle;
  Mode last_mode = Mode::idle;
  other::Mode other = other::Mode::idle;
  char names[2][8];
  Plain plain[3];
  long double precise;
  std::byte raw;
  char letter;
  bool on;
  Grid<3> grid;
  std::uint32_t used;
  std::array<float, 6> cells;
  using Tail = std::array<float, 3>;
};
HORUS_MESSAGE(Drive, stamp, frameId, wheels, spare_, mode, last_mode, other, names, plain, precise, raw,
              letter, on, grid, used, cells);
inline void horus_about(horus::About& about, const Drive* /*type*/) {
  about.tail("points", "m", "after on");
  about.field("cells").counted_by("used").ros("cell_volts");
}

struct Told {
  horus::messages::Point here;
};
HORUS_MESSAGE(Told, here);
struct Point {
  double x = 0, y = 0, z = 0;
};
HORUS_MESSAGE(Point, x, y, z);
inline void horus_about(horus::About& about, const Point* /*type*/) { about.ros("geometry_msgs/msg/Point"); }
struct Flat {
  double x = 0;
};
HORUS_MESSAGE(Flat, x);
inline void horus_about(horus::About& about, const Flat* /*type*/) { about.ros("geometry_msgs/msg/Point"); }
struct Points {
  horus::messages::Point a;
  Point b;
  Flat c;
};
HORUS_MESSAGE(Points, a, b, c);

}  // namespace rover::arm

struct Lonely {
  int number = 0;
};
HORUS_MESSAGE(Lonely, number);

namespace {

using horus::describe;
using horus::ros2msg;
using horus::ros_name;
using horus::ros_type_hash;
namespace messages = horus::messages;

const std::string kLine(80, '=');

}  // namespace

TEST_SUITE("msg/ros") {
  TEST_CASE(
      "a message's definition has its fields in ROS' words, and the nested types behind lines of 80 =") {
    CHECK(ros2msg(describe<rover::arm::Drive>()) ==
          "builtin_interfaces/Time stamp\n"
          "string frame_id\n"
          "rover_arm/Wheel[4] wheels\n"
          "rover_arm/Wheel[] spare\n"
          "uint8 MODE_IDLE=0\n"
          "uint8 MODE_DRIVE_FAST=1\n"
          "uint8 MODE_DOCK=7\n"
          "uint8 mode\n"
          "uint8 last_mode\n"
          "int8 OTHER_IDLE=-1\n"
          "int8 other\n"
          "string[2] names\n"
          "uint8[12] plain\n"
          "uint8[16] precise\n"
          "byte raw\n"
          "char letter\n"
          "bool on\n"
          "float32[] points\n"
          "rover_arm/Grid3 grid\n"
          "float32[] cell_volts\n" +
              kLine +
              "\nMSG: builtin_interfaces/Time\n"
              "int32 sec\n"
              "uint32 nanosec\n" +
              kLine +
              "\nMSG: rover_arm/Wheel\n"
              "float64 speed\n"
              "float32 torque\n" +
              kLine +
              "\nMSG: rover_arm/Grid3\n"
              "float32[6] cells\n");
  }

  TEST_CASE("messages that are all tail are text or lists") {
    CHECK(ros2msg(describe<std::string>()) == "string data\n");
    CHECK(ros_name(describe<std::string>()) == "std_msgs/msg/String");
    CHECK(ros2msg(describe<std::vector<rover::arm::Wheel>>()).starts_with("rover_arm/Wheel[] data\n"));
    CHECK(ros2msg(describe<std::vector<float>>()) == "float32[] data\n");
    CHECK(ros2msg(describe<rover::arm::Plain>()) == "uint8[4] data\n");
  }

  TEST_CASE("a name in ROS is the one that was told, or follows from namespaces and type") {
    CHECK(ros_name(describe<messages::Imu>()) == "sensor_msgs/msg/Imu");
    CHECK(ros_name(describe<rover::arm::Drive>()) == "rover_arm/msg/Drive");
    CHECK(ros_name(describe<Lonely>()) == "horus_user/msg/Lonely");
    CHECK(ros_name(describe<std::vector<rover::arm::Wheel>>()) == "horus_user/msg/VectorOfRoverArmWheel");
  }

  TEST_CASE("two types of one ROS name are one where they are equal, else the second has a number") {
    CHECK(ros2msg(describe<rover::arm::Points>()) ==
          "geometry_msgs/Point a\ngeometry_msgs/Point b\n"
          "geometry_msgs/Point2 c\n" +
              kLine +
              "\nMSG: geometry_msgs/Point\n"
              "float64 x\nfloat64 y\nfloat64 z\n" +
              kLine +
              "\nMSG: geometry_msgs/Point2\n"
              "float64 x\n");
  }

  TEST_CASE("ready messages with fields of another shape have ROS' fields in their definitions") {
    const std::string joints = ros2msg(describe<messages::JointState>());
    CHECK(
        joints.starts_with("std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
                           "float64[] effort\n" +
                           kLine));
    CHECK(ros_name(describe<messages::JointState>()) == "sensor_msgs/msg/JointState");
    CHECK(ros_name(describe<messages::LaserScan>()) == "sensor_msgs/msg/LaserScan");
    CHECK(ros_name(describe<messages::NavSatFix>()) == "sensor_msgs/msg/NavSatFix");
    CHECK(ros_name(describe<messages::Image>()) == "sensor_msgs/msg/Image");
    CHECK(ros_name(describe<messages::PointCloud>()) == "sensor_msgs/msg/PointCloud2");
    CHECK(ros2msg(describe<messages::LaserScan>()).find("float32[] ranges\nfloat32[] intensities\n") !=
          std::string::npos);
    CHECK(ros2msg(describe<messages::BatteryState>()).find("uint8 POWER_SUPPLY_HEALTH_UNSPEC_FAILURE=5\n") !=
          std::string::npos);
  }

  TEST_CASE("a cloud of fixed points and one of any points are the same message in ROS") {
    CHECK(ros_type_hash(describe<messages::PointCloud>()) ==
          ros_type_hash(describe<messages::PointCloud2>()));
    CHECK(ros2msg(describe<messages::Log>()).find("string name\nstring msg\nstring file\n") !=
          std::string::npos);
    CHECK(ros2msg(describe<messages::DiagnosticArray>()).find("byte STALE=3\nbyte level\n") !=
          std::string::npos);
    CHECK(ros_name(describe<messages::TFMessage>()) == "tf2_msgs/msg/TFMessage");
  }

  // Values that many ROS programs carry.
  TEST_CASE("the hashes of types are those of ROS") {
    CHECK(ros_type_hash(describe<std::string>()).starts_with("RIHS01_df668c74"));
    CHECK(ros_type_hash(describe<messages::Twist>()).starts_with("RIHS01_9c45bf16"));
    CHECK(ros_type_hash(describe<messages::Imu>()).starts_with("RIHS01_7d9a00ff1310"));
    CHECK(ros_type_hash(describe<messages::Odometry>()) ==
          "RIHS01_3cc97dc7fb7502f8714462c526d369e35b603cfc34d946e3f2eda2766dfec6e0");
    CHECK(ros_type_hash(describe<messages::Temperature>()) ==
          "RIHS01_72514a14126ab9f8a9abec974c78e5610a367b59db5da355ff1fb982d5bad4b8");
    CHECK(ros_type_hash(describe<messages::BatteryState>()) ==
          "RIHS01_4bee5dfce981c98faa6828b868307a0a73f992ed0789f374ee96c8f840e69741");
  }
}
