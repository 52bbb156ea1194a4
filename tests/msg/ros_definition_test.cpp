// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/ros_definition.hpp>

#include <optional>
#include <string>
#include <string_view>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/msg/ros.hpp>

namespace {

using horus::describe;
using horus::parse_ros2msg;
using horus::ros2msg;
using horus::ros_name;
using horus::ros_type_hash;
using horus::RosDefinition;
namespace messages = horus::messages;

RosDefinition read(std::string_view text, std::string_view name = "rover_msgs/msg/Drive") {
  return parse_ros2msg(name, text).or_throw();
}
std::string refusal(std::string_view text, std::string_view name = "rover_msgs/msg/Drive") {
  const auto made = parse_ros2msg(name, text);
  REQUIRE_FALSE(made);
  CHECK(made.code() == horus::kBadInput);
  return made.error().message();
}
bool says(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

template <class... T>
void check_each() {
  const auto check = [](const horus::Description& type) {
    INFO(ros_name(type));
    const RosDefinition made = read(ros2msg(type), ros_name(type));
    CHECK(made.root().name == ros_name(type));
    CHECK(ros2msg(made) == ros2msg(type));
    CHECK(ros_type_hash(made) == ros_type_hash(type));
  };
  (check(describe<T>()), ...);
}

}  // namespace

TEST_SUITE("msg/ros_definition") {
  TEST_CASE("the definitions of all ready messages are read as they were written") {
    check_each<messages::Header, messages::Imu, messages::Twist, messages::Pose, messages::Odometry,
               messages::JointState, messages::LaserScan, messages::BatteryState, messages::NavSatFix,
               messages::Image, messages::PointCloud, messages::Temperature, messages::MagneticField,
               messages::Range, messages::Joy, messages::PoseStamped, messages::TwistStamped,
               messages::TransformStamped, messages::TFMessage, messages::Path, messages::OccupancyGrid,
               messages::CompressedImage, messages::CameraInfo, messages::PointCloud2,
               messages::DiagnosticArray, messages::Log, std::string>();
  }

  TEST_CASE("a definition by hand: comments, presets, constants, bounds and lists") {
    const RosDefinition made = read(
        "# What a wheel does.\r\n"
        "\r\n"
        "uint8 IDLE = 0   # nothing\r\n"
        "string  NAME=\"it's # here\"  # not there\n"
        "string PLAIN=it's a 'name' # a comment\n"
        "uint8   mode\n"
        "\tfloat64 speed 1.5 # m/s\n"
        "string<=10 label 'its'\n"
        "string text \"say \\\"#\\\"\" #that\n"
        "int32[] numbers [1, 2, 3] # three\n"
        "float32[<=3] few\n"
        "string<=5[<=2] words\n"
        "Wheel[4] wheels\n"
        "other_msgs/Wheel other#comment\n"
        "bool LAST=True\n"
        "===\n"
        "MSG: rover_msgs/Wheel\n"
        "float64 speed\n"
        "======\n"
        "# before it\n"
        "MSG:   other_msgs/msg/Wheel\n"
        "builtin_interfaces/Time when\n"
        "duration how_long");
    const std::string line = std::string(80, '=') + "\n";
    CHECK(ros2msg(made) ==
          "uint8 IDLE=0\n"
          "string NAME=\"it's # here\"\n"
          "string PLAIN=it's a 'name'\n"
          "uint8 mode\n"
          "float64 speed 1.5\n"
          "string<=10 label 'its'\n"
          "string text \"say \\\"#\\\"\"\n"
          "int32[] numbers [1, 2, 3]\n"
          "float32[<=3] few\n"
          "string<=5[<=2] words\n"
          "rover_msgs/Wheel[4] wheels\n"
          "other_msgs/Wheel other\n"
          "bool LAST=True\n" +
              line + "MSG: rover_msgs/Wheel\nfloat64 speed\n" + line +
              "MSG: other_msgs/Wheel\nbuiltin_interfaces/Time when\nbuiltin_interfaces/Duration how_long\n" +
              line + "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n" + line +
              "MSG: builtin_interfaces/Duration\nint32 sec\nuint32 nanosec\n");
    const auto& fields = made.root().fields;
    CHECK(fields[0].constants[0] == RosDefinition::Constant{"uint8", "IDLE", "0"});
    CHECK(fields[2].text_bytes == 10);
    CHECK(fields[5].shape == RosDefinition::Shape::bounded_sequence);
    CHECK(fields[5].count == 3);
    CHECK(made.types.at(fields[7].nested).name == "rover_msgs/msg/Wheel");
    CHECK(fields[7].line == 13);
    CHECK(made.root().constants.size() == 1);
    CHECK(read(ros2msg(made)) == made);
  }

  TEST_CASE("Header without a package is that of std_msgs, unless the package has one of its own") {
    const std::string header =
        "\n===\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n";
    CHECK(read("Header header" + header).root().fields[0].type == "std_msgs/msg/Header");
    CHECK(read("Header header\n===\nMSG: rover_msgs/Header\nint8 x" + header).root().fields[0].type ==
          "rover_msgs/msg/Header");
  }

  TEST_CASE("a message whose name has no package, and one without fields") {
    CHECK(read("float64 x", "Reading").root().name == "Reading");
    CHECK(read("Point at\n===\nMSG: Point\nfloat64 x", "Reading").types.size() == 2);
    CHECK(read("", "std_msgs/Empty").root().fields.empty());
  }

  // Hashes that ROS' own generators wrote.
  TEST_CASE("the hashes of definitions are those of ROS") {
    CHECK(ros_type_hash(read("", "std_msgs/Empty")) ==
          "RIHS01_20b625256f32d5dbc0d04fee44f43c41e51c70d3502f84b4a08e7a9c26a96312");
    CHECK(ros_type_hash(read("char data", "std_msgs/Char")) ==
          "RIHS01_3ad2d04dd29ba19d04b16659afa3ccaedd691914b02a64e82e252f2fa6a586a9");
    CHECK(ros_type_hash(read("byte PUBLISHER=0\nbyte entity_type\nstring<=256 name\nstring<=256[] types",
                             "micro_ros_msgs/Entity")) ==
          "RIHS01_f66f49cbcc49d8602beda0ffc3b6006e5addf5a78e9d7d62e831b27c912a3e08");
    CHECK(
        ros_type_hash(read("uint8 BOX=1\nuint8 type\nfloat64[<=3] dimensions\ngeometry_msgs/Polygon polygon\n"
                           "====\nMSG: geometry_msgs/Polygon\nPoint32[] points\n"
                           "====\nMSG: geometry_msgs/Point32\nfloat32 x\nfloat32 y\nfloat32 z",
                           "shape_msgs/SolidPrimitive")) ==
        "RIHS01_2802a15190aadc3f496584df4b0b4c5824d8a0b31aaef839faa75bc34dda38ac");
    CHECK(ros_type_hash(
              read("string name\nuint8 type\nstring description\nstring additional_constraints\n"
                   "bool read_only false\nbool dynamic_typing false\n"
                   "FloatingPointRange[<=1] floating_point_range\nIntegerRange[<=1] integer_range\n"
                   "===\nMSG: rcl_interfaces/FloatingPointRange\nfloat64 from_value\nfloat64 to_value\n"
                   "float64 step\n===\nMSG: rcl_interfaces/IntegerRange\nint64 from_value\n"
                   "int64 to_value\nuint64 step",
                   "rcl_interfaces/msg/ParameterDescriptor")) ==
          "RIHS01_52175dbfda6c51153101d33d2a9da05743f66f02d5ab2ca9ec4709b46b73d704");
  }

  TEST_CASE("a mistake is told with its line and the reason") {
    CHECK(says(refusal("\nfloat64"), "line 2: \"float64\": a type and a name are expected"));
    CHECK(says(refusal("float64 1x"), "line 1: \"1x\" is no name"));
    CHECK(says(refusal("float64 x\nint8 x"), "line 2: there are two fields x"));
    CHECK(says(refusal("int8 A=1\nint8 x\nint8 A=2"), "line 3: there are two constants A"));
    CHECK(says(refusal("Point A=1"), "line 1: \"Point\": the type of a constant"));
    CHECK(says(refusal("int8 A="), "the constant A has no value"));
    CHECK(says(refusal("string x \"open"), "the quotation mark at its end is missing"));
    CHECK(says(refusal("string x \"a\" b"), "nothing is expected behind a text"));
    CHECK(says(refusal("int8[0] x"), "\"0\": a list of so many values needs a whole number from 1"));
    CHECK(says(refusal("int8[x] x"), "needs a whole number"));
    CHECK(says(refusal("int8[99999999999] x"), "needs a whole number"));
    CHECK(says(refusal("int8] x"), "a [ is missing"));
    CHECK(says(refusal("int8<=3 x"), "only string and wstring have a bound"));
    CHECK(says(refusal("in\x1bt x"), "line 1: \"in?t\" is no type"));
    CHECK(says(refusal("int8 x\nPoint at"), "line 2: there is no definition of rover_msgs/msg/Point"));
    CHECK(says(refusal("===\nfloat64 x"), "line 2: \"float64 x\": a line \"MSG: package/Name\" is expected"));
    CHECK(says(refusal("int8 x\n==="), "it ends where a line"));
    CHECK(says(refusal("int8 x\n===\nMSG: a b"), "is no name of a type"));
    CHECK(says(refusal("A a\n===\nMSG: rover_msgs/A\nint8 x\n===\nMSG: rover_msgs/A\nint8 y"),
               "there are two definitions of rover_msgs/msg/A, and they differ"));
    CHECK(says(refusal("A a\n===\nMSG: rover_msgs/A\nB[] b\n===\nMSG: rover_msgs/B\nA[] a"),
               "contains itself, by its field"));
    CHECK(says(refusal("int8 x", "a message"), "is no name of a message"));
    CHECK(says(refusal("int8 x", ""), "is no name of a message"));
  }

  TEST_CASE("a definition that is there twice counts once") {
    const std::string point = "\n===\nMSG: rover_msgs/Point\nfloat64 x";
    CHECK(read("Point a" + point + point).types.size() == 2);
  }

  TEST_CASE("nested types may stand elsewhere") {
    const auto find = [](std::string_view type) -> std::optional<std::string> {
      if (type == "rover_msgs/msg/Wheel") return "Hub hub\nother_msgs/Axle axle";
      if (type == "rover_msgs/msg/Hub") return "int8 x";
      if (type == "other_msgs/msg/Axle") return "float32 y\nfloat32";
      return std::nullopt;
    };
    CHECK(parse_ros2msg("rover_msgs/Drive", "Hub a\nHub b\ntime at", find).or_throw().types.size() == 3);
    const auto wrong = parse_ros2msg("rover_msgs/Drive", "Wheel[4] wheels", find);
    REQUIRE_FALSE(wrong);
    CHECK(says(wrong.error().message(),
               "other_msgs/msg/Axle, line 2: \"float32\": a type and a name are expected"));
    const auto missing = parse_ros2msg("rover_msgs/Drive", "int8 a\nTyre tyre", find);
    REQUIRE_FALSE(missing);
    CHECK(says(missing.error().message(), "line 2: there is no definition of rover_msgs/msg/Tyre"));
  }

  TEST_CASE("nothing is larger than the limits") {
    CHECK(says(refusal(std::string(RosDefinition::kMostText + 1, '\n')), "bytes, and at most"));
    std::string fields, constants, types = "int8 x\n", nested = "T0 x\n";
    for (std::size_t i = 0; i <= RosDefinition::kMostFields; ++i) {
      fields += fmt::format("int8 x{}\n", i);
      constants += fmt::format("int8 X{}=1\n", i);
    }
    for (std::size_t i = 0; i < RosDefinition::kMostTypes; ++i)
      types += fmt::format("===\nMSG: rover_msgs/T{}\nint8 x\n", i);
    for (std::size_t i = 0; i <= RosDefinition::kMostNested; ++i)
      nested +=
          fmt::format("===\nMSG: rover_msgs/T{}\n{} x\n", i,
                      i == RosDefinition::kMostNested ? std::string("int8") : fmt::format("T{}", i + 1));
    CHECK(says(refusal(fields), "line 4097: more than 4096 fields"));
    CHECK(says(refusal(constants), "line 4097: more than 4096 constants"));
    CHECK(says(refusal(types), "more than 256 types"));
    CHECK(says(refusal(nested), "types are nested more than 32 deep"));
    CHECK(says(refusal("int8 " + std::string(256, 'x')), "is no name"));
  }
}
