// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/layout.hpp>

#include <array>
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

  TEST_CASE("an undescribed message is known by its name and size") {
    const horus::Layout& layout = horus::layout_of<rover::Plain>();
    CHECK(layout.describe() == "rover::Plain, 16 bytes, aligned to 8");
    CHECK(horus::layout_of<rover::Hidden>().name == "rover::Hidden");
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
