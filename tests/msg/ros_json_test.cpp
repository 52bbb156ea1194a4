// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/error.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/msg/ros.hpp>
#include <horus/msg/ros_definition.hpp>

#include "../support/random_message.hpp"

namespace {

using namespace horus;

std::vector<std::byte> bytes_of(std::string_view digits) {
  std::vector<std::byte> made;
  std::string pair;
  for (const char c : digits) {
    if (c == ' ') continue;
    pair += c;
    if (pair.size() < 2) continue;
    made.push_back(static_cast<std::byte>(std::stoul(pair, nullptr, 16)));
    pair.clear();
  }
  return made;
}
RosDefinition definition(std::string_view text) {
  return parse_ros2msg("rover_msgs/msg/Drive", text).or_throw();
}
std::string json(std::string_view text, std::string_view digits) {
  return cdr_to_json(definition(text), bytes_of(digits)).or_throw();
}
std::string refusal(std::string_view text, std::string_view digits) {
  const auto made = cdr_to_json(definition(text), bytes_of(digits));
  REQUIRE_FALSE(made);
  CHECK(made.code() == kBadInput);
  return made.error().message();
}
bool says(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

// As the program does that was compiled with the type.
template <class... T>
void check_each() {
  const auto check = [](const Description& type, const Cdr& cdr) {
    INFO(ros_name(type));
    test::MessageMaker maker(7);
    const RosDefinition foreign = parse_ros2msg(ros_name(type), ros2msg(type)).or_throw();
    for (int i = 0; i < 20; ++i) {
      const test::RandomMessage message = maker.make(type);
      std::vector<std::byte> bytes(cdr.size(message.head, message.tail).or_throw());
      cdr.write(message.head, message.tail, bytes).or_throw();
      CHECK(cdr_to_json(foreign, bytes).or_throw() ==
            to_json(type, message.head, message.tail, JsonStyle::ros).or_throw());
    }
  };
  (check(describe<T>(), cdr_of<T>()), ...);
}

constexpr const char* kMixed =
    "bool on\nfloat64 speed\nint16[] counts\nstring name\nPoint[2] corners\nuint64 big\n"
    "===\nMSG: rover_msgs/Point\nfloat32 x\nint8 y";
constexpr const char* kMixedJson =
    R"({"on":true,"speed":1.5,"counts":[-2,3],"name":"né","corners":[{"x":0.5,"y":-1},{"x":2,"y":4}],"big":1})";

}  // namespace

TEST_SUITE("msg/ros_json") {
  TEST_CASE("messages are read by their definition as by the struct that wrote them") {
    check_each<messages::Header, messages::Imu, messages::Twist, messages::Odometry, messages::BatteryState,
               messages::Temperature, messages::Range, messages::Joy, messages::TransformStamped,
               messages::TFMessage, messages::Path, messages::OccupancyGrid, messages::CompressedImage,
               messages::CameraInfo, messages::PointCloud2, messages::DiagnosticArray, messages::Log>();
  }

  TEST_CASE("either end may come first") {
    CHECK(json(kMixed,
               "00010000 01 00000000000000 000000000000f83f 02000000 feff 0300 04000000 6ec3a900"
               "0000003f ff 000000 00000040 04 000000 0100000000000000") == kMixedJson);
    CHECK(json(kMixed,
               "00000000 01 00000000000000 3ff8000000000000 00000002 fffe 0003 00000004 6ec3a900"
               "3f000000 ff 000000 40000000 04 000000 0000000000000001") == kMixedJson);
  }

  TEST_CASE("in XCDR2 numbers are aligned to four bytes at most, and lists of structs say their size") {
    CHECK(json(kMixed,
               "00070000 01 000000 000000000000f83f 02000000 feff 0300 04000000 6ec3a900"
               "0d000000 0000003f ff 000000 00000040 04 000000 0100000000000000") == kMixedJson);
    CHECK(json(kMixed,
               "00060000 01 000000 3ff8000000000000 00000002 fffe 0003 00000004 6ec3a900"
               "0000000d 3f000000 ff 000000 40000000 04 000000 0000000000000001") == kMixedJson);
    CHECK(json("string[] words", "00070000 11000000 02000000 02000000 6100 0000 01000000 00") ==
          R"({"words":["a",""]})");
    CHECK(says(refusal("string[] words", "00070000 0f000000 01000000 02000000 6100"),
               "byte 18, words: a list that says it takes 15 bytes, and takes 10"));
  }

  TEST_CASE("several lists without a bound, times, and numbers that JSON does not have") {
    CHECK(json("float32[] a\nuint8[<=8] data\nbuiltin_interfaces/Time at\nfloat64 b",
               "00010000 02000000 0000c07f 000080ff 03000000 0102ff 00 05000000 07000000 00000000 "
               "0000000000000000") ==
          R"({"a":["nan","-inf"],"data":[1,2,255],"at":{"sec":5,"nanosec":7},"b":0})");
    CHECK(json("float32 f\nfloat64 d", "00010000 cdcccc3d 00000000 9a9999999999b93f") ==
          R"({"f":0.1,"d":0.1})");
  }

  TEST_CASE("a type without fields has one byte, and as a message perhaps none") {
    CHECK(json("", "00010000") == "{}");
    CHECK(json("", "00010000 00") == "{}");
    CHECK(json("N a\nuint8 b\n===\nMSG: rover_msgs/N\n", "00010000 00 07") == R"({"a":{},"b":7})");
  }

  TEST_CASE("what is behind the message does not count") {
    CHECK(json("uint8 a", "00010000 05 000000") == R"({"a":5})");
  }

  TEST_CASE("an error names the byte, the field and the reason") {
    CHECK(says(refusal("uint8 a", "0001"), "rover_msgs/msg/Drive: 2 bytes, and its header alone has 4"));
    CHECK(says(refusal("uint8 a", "00030000 05"), "it begins with 00 03, which is neither"));
    CHECK(says(refusal("uint8 a", "01010000 05"), "it begins with 01 01"));
    CHECK(says(refusal("uint8 a\nuint32 b", "00010000 05 000000 0100"), "byte 8, b: it ends here"));
    CHECK(says(refusal("float64[] ranges", "00010000 ffffff7f 00000000 0000000000000000"),
               "byte 8, ranges: a list of 2147483647 values, and 12 bytes are left"));
    CHECK(says(refusal("uint8[4000000000] data", "00010000 00"), "a list of 4000000000 values"));
    CHECK(says(refusal("string s", "00010000 05000000 6100"), "byte 8, s: text of 5 bytes, and 2 are left"));
    CHECK(says(refusal("string s", "00010000 02000000 6161"), "text without a zero behind it"));
    CHECK(says(refusal("wstring s", "00010000 00000000"), "s: a wstring"));
    CHECK(says(
        refusal("Point[] at\n===\nMSG: rover_msgs/Point\nInner in\n===\nMSG: rover_msgs/Inner\nint8[2] x",
                "00010000 02000000 0102 03"),
        "byte 10, at[1].in.x: a list of 2 values, and 1 bytes are left"));
  }

  TEST_CASE("each prefix of a message is an error, and none reads behind its end") {
    const auto whole = bytes_of(
        "00010000 01 00000000000000 000000000000f83f 02000000 feff 0300 04000000 6ec3a900"
        "0000003f ff 000000 00000040 04 000000 0100000000000000");
    const RosDefinition type = definition(kMixed);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      CHECK_FALSE(cdr_to_json(type, part));
    }
  }
}
