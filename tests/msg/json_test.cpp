// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/json.hpp>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

#include "../support/text_round_trips.hpp"

namespace letter {

enum class Mode : std::uint8_t { idle, drive, dock = 7 };
HORUS_ENUM(Mode, idle, drive, dock);
struct Wheel {
  double speed = 0;
  float torque = 0;
};
HORUS_MESSAGE(Wheel, speed, torque);
struct Plain {
  std::int16_t a;
};
struct Drive {
  horus::Stamp stamp;
  horus::Text<8> frame;
  std::array<Wheel, 2> wheels;
  horus::Sequence<std::int16_t, 3> codes;
  Mode mode = Mode::idle;
  bool on = false;
  std::uint64_t large = 0;
  Plain plain;
  using Tail = std::array<float, 2>;
};
HORUS_MESSAGE(Drive, stamp, frame, wheels, codes, mode, on, large, plain);
inline void horus_about(horus::About& about, const Drive* /*type*/) {
  about.tail("points", "", "after frame");
  about.field("frame").ros("frame_id");
}

}  // namespace letter

namespace {

using horus::describe;
using horus::from_json;
using horus::JsonStyle;
using horus::to_json;
using horus::test::bytes_of;
namespace messages = horus::messages;
using Bytes = std::vector<std::byte>;

template <class T>
void check_round_trips() {
  horus::test::check_text_round_trips<T>(
      11, [](const auto&... message) { return to_json(message...); }, &from_json);
}

std::string refusal(std::string_view json) {
  Bytes head, tail;
  const auto read = from_json(describe<letter::Drive>(), json, head, tail);
  return read ? "none" : std::string(read.error().target());
}

letter::Drive example() {
  letter::Drive drive;
  drive.stamp.ns = -1'500'000'000;
  drive.frame.set("a\"b\n\xff");
  drive.wheels[1] = {0.1, 0.1F};
  drive.codes.push_back(-2);
  drive.codes.push_back(3);
  drive.mode = letter::Mode::dock;
  drive.on = true;
  drive.large = UINT64_MAX;
  drive.plain.a = 258;
  return drive;
}

}  // namespace

TEST_SUITE("msg/json") {
  TEST_CASE("a message is one line, with the tail in its place, names for constants and few digits") {
    const letter::Drive drive = example();
    const std::array<float, 2> tail{1.5F, std::numeric_limits<float>::infinity()};
    CHECK(to_json(describe<letter::Drive>(), bytes_of(drive), bytes_of(tail)).or_throw() ==
          R"({"stamp":-1500000000,"frame":"a\"b\u000a)"
          "\xef\xbf\xbd"
          R"(","points":[1.5,"inf"],"wheels":[{"speed":0,"torque":0},{"speed":0.1,"torque":0.1}],)"
          R"("codes":[-2,3],"mode":"dock","on":true,"large":18446744073709551615,"plain":"0201"})");
  }

  TEST_CASE("in ROS' style names, times and enumerations are those of ROS") {
    const letter::Drive drive = example();
    const std::string json =
        to_json(describe<letter::Drive>(), bytes_of(drive), {}, JsonStyle::ros).or_throw();
    CHECK(json.starts_with(R"({"stamp":{"sec":-2,"nanosec":500000000},"frame_id":)"));
    CHECK(json.find(R"("mode":7)") != std::string::npos);
  }

  TEST_CASE("random messages come back as they were") {
    check_round_trips<letter::Drive>();
    check_round_trips<std::string>();
    check_round_trips<std::vector<double>>();
    check_round_trips<messages::Imu>();
    check_round_trips<messages::JointState>();
    check_round_trips<messages::LaserScan>();
    check_round_trips<messages::BatteryState>();
    check_round_trips<messages::NavSatFix>();
    check_round_trips<messages::Image>();
    check_round_trips<messages::PointCloud>();
    check_round_trips<messages::DiagnosticArray>();
    check_round_trips<messages::Log>();
    check_round_trips<messages::CameraInfo>();
  }

  TEST_CASE("what a person leaves out is zero, and an enumeration may be a number") {
    Bytes head, tail;
    REQUIRE(
        from_json(describe<letter::Drive>(), R"({"mode": 1, "points": [1, "nan"], "codes": [4]})", head, tail)
            .ok());
    letter::Drive drive;
    std::memcpy(&drive, head.data(), sizeof drive);
    CHECK(drive.mode == letter::Mode::drive);
    CHECK(drive.codes.size() == 1);
    CHECK(drive.codes[0] == 4);
    CHECK(drive.stamp.ns == 0);
    REQUIRE(tail.size() == 8);
    float second = 0;
    std::memcpy(&second, &tail[4], 4);
    CHECK(std::isnan(second));
  }

  TEST_CASE("what does not fit is refused by its place, with what is expected") {
    CHECK(refusal("[]") == "letter::Drive: an object {…} is expected");
    CHECK(refusal(R"({"wheels": [{}, {"sped": 1}]})") ==
          "letter::Drive.wheels: there is no field \"sped\" (there are: speed, torque)");
    CHECK(refusal(R"({"sped": 1})").find("mode, on, large, plain, points)") != std::string::npos);
    CHECK(refusal(R"({"wheels": [{}]})") == "letter::Drive.wheels: a list of 2 values is expected, not 1");
    CHECK(refusal(R"({"codes": [1, 2, 3, 4]})") == "letter::Drive.codes: a list of 4 values, and room for 3");
    CHECK(refusal(R"({"codes": [32768]})") ==
          "letter::Drive.codes: a whole number from -32768 to 32767 is expected");
    CHECK(refusal(R"({"codes": [1.5]})").find("a whole number") != std::string::npos);
    CHECK(refusal(R"({"large": -1})").find("a whole number from 0 to 18446744073709551615") !=
          std::string::npos);
    CHECK(refusal(R"({"frame": "123456789"})") == "letter::Drive.frame: text of 9 bytes, and room for 8");
    CHECK(refusal(R"({"frame": "\u0000"})") == "letter::Drive.frame: a zero within text");
    CHECK(refusal(R"({"mode": "fly"})") ==
          "letter::Drive.mode: letter::Mode has no constant of that name (there are: idle, drive, dock)");
    CHECK(refusal(R"({"points": [1]})") == "letter::Drive.points: a list of 1 values is no multiple of 2");
    CHECK(refusal(R"({"plain": "02"})") == "letter::Drive.plain: 4 hexadecimal digits are expected");
    CHECK(refusal(R"({"wheels": [{"torque": 1e300}, {}]})") ==
          "letter::Drive.wheels.torque: a number that is too large");
    CHECK(refusal(R"({"on": 1})") == "letter::Drive.on: true or false is expected");
    CHECK(refusal(R"({"on": true)") == "letter::Drive: no JSON at byte 12");
    CHECK(refusal(std::string(100'000, '[')).find("more than 64 deep") != std::string::npos);
    CHECK(refusal(std::string(100'000, '[') + std::string(100'000, ']')).find("more than 64 deep") !=
          std::string::npos);
    CHECK(to_json(describe<letter::Drive>(), Bytes(3)).error().code() == EINVAL);
  }
}
