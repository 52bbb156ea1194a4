// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/layout.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

namespace rover {

enum class Gear : std::uint8_t { forward, reverse };
struct Wheel {
  double speed;
  float torque;
};
HORUS_MESSAGE(Wheel, speed, torque);
struct Wheels {
  std::int64_t stamp_ns;
  std::array<Wheel, 4> wheels;
  bool braking;
  Gear gear;
  char name[16];
};
HORUS_MESSAGE(Wheels, stamp_ns, wheels, braking, gear, name);
struct Plain {
  int a;
  double b;
};
struct Scan {
  float angle_min;
  using Tail = double;
};
struct Joint {
  double angle;
};
struct Arm : Joint {
  Joint wrist[2];
  std::array<float, 4> torques;
  char name[8];
  Gear gear;
  bool moving;
  union {
    std::int16_t volts;
    std::uint16_t amperes;
  };
  unsigned code : 4;
  unsigned count : 12;
  std::byte spare;
};
struct Gripper {
  std::int32_t width;
  Plain force;
};
HORUS_MESSAGE(Gripper, width, force);
namespace v1 {
struct Level {
  std::int32_t height;
  std::uint32_t number;
};
}  // namespace v1
namespace v2 {
struct Level {
  float height;
  std::uint32_t number;
};
}  // namespace v2
struct Built {
  Built() {}
  double value = 0;
};
struct Timed {
  int number;
  std::chrono::nanoseconds when;
};
struct Picture {
  std::uint8_t pixels[4096];
  int number;
};
namespace {
struct Hidden {
  int x;
};
}  // namespace

}  // namespace rover

TEST_SUITE("msg/layout") {
  TEST_CASE("a described message names its fields, their types and places") {
    const horus::Layout& layout = horus::layout_of<rover::Wheels>();
    CHECK(layout.name == "rover::Wheels");
    CHECK(layout.fields ==
          "i64 stamp_ns @0, {f64 speed @0, f32 torque @8}[4] wheels @8, bool braking @72, u8 gear @73, "
          "char[16] name @74");
    CHECK(layout.head_bytes == sizeof(rover::Wheels));
    CHECK(layout.element_bytes == 0);
    CHECK(layout.describe() == "rover::Wheels {" + layout.fields + "}, 96 bytes");
  }

  TEST_CASE("an undescribed message is known by its name, its size and the types of its values") {
    const horus::Layout& layout = horus::layout_of<rover::Plain>();
    CHECK(layout.describe() == "rover::Plain {i32, f64}, 16 bytes, aligned to 8");
    CHECK(horus::layout_of<rover::Hidden>().name == "rover::Hidden");
    // Through nested structs, bases, arrays, enumerations and the first member of a union.
    CHECK(horus::layout_of<rover::Arm>().fields == "f64[3], f32[4], char[8], u8, bool, i16, u32[2], byte");
    CHECK(horus::layout_of<std::vector<rover::Plain>>().fields == "i32, f64");
    CHECK(horus::layout_of<rover::Scan>().fields == "f32, then f64s");
    CHECK(horus::layout_of<rover::Gripper>().fields == "i32 width @0, {i32, f64} force @8");
  }

  TEST_CASE("two programs whose undescribed structs differ in one type do not take each other for the same") {
    horus::Layout mine = horus::layout_of<rover::v1::Level>();
    horus::Layout theirs = horus::layout_of<rover::v2::Level>();
    CHECK(mine.head_bytes == theirs.head_bytes);
    CHECK(mine.alignment == theirs.alignment);
    mine.name = theirs.name = "rover::Level";
    mine.settle();
    theirs.settle();
    CHECK(mine.hash != theirs.hash);
    CHECK(mine.describe() == "rover::Level {i32, u32}, 8 bytes, aligned to 4");
    CHECK(theirs.describe() == "rover::Level {f32, u32}, 8 bytes, aligned to 4");
  }

  TEST_CASE("what cannot be looked into says so, and is known by its size") {
    CHECK(horus::layout_of<rover::Built>().describe() == "rover::Built, 8 bytes, aligned to 8");
    CHECK(horus::layout_of<rover::Timed>().fields == "i32, ...");
    CHECK(horus::layout_of<rover::Picture>().fields == "u8[64], ...");
  }

  TEST_CASE("text, vectors and heads with a tail have elements") {
    CHECK(horus::layout_of<std::string>().describe() == "text, elements of 1 bytes");
    CHECK(horus::layout_of<std::vector<float>>().name == "vector of f32");
    CHECK(horus::layout_of<std::vector<rover::Plain>>().name == "vector of rover::Plain");
    const horus::Layout& scan = horus::layout_of<rover::Scan>();
    CHECK(scan.head_bytes == 4);
    CHECK(scan.tail_offset == 8);  // where a double may stand
    CHECK(scan.element_bytes == 8);
  }

  TEST_CASE("equal layouts have equal hashes, others have not") {
    horus::Layout a = horus::layout_of<rover::Plain>();
    horus::Layout b = a;
    b.settle();
    CHECK(a.hash == b.hash);
    b.fields = "i32 a @0, f64 b @8";
    b.settle();
    CHECK(a.hash != b.hash);
    // The same on every compiler and machine: it travels in handshakes.
    CHECK(horus::layout_of<std::string>().hash == 1631667666573535732U);
  }

  TEST_CASE("type names of both compilers are tidied to the same") {
    CHECK(horus::detail::tidy_type_name(
              "std::string horus::detail::type_name() [T = a::(anonymous namespace)::B]") == "a::B");
    CHECK(horus::detail::tidy_type_name(
              "std::string horus::detail::type_name() [with T = a::{anonymous}::B; std::string = x]") ==
          "a::B");
    CHECK(horus::detail::tidy_type_name("std::string horus::detail::type_name() [T = V<int[2]>]") ==
          "V<int[2]>");
  }
}
