// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/description.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>

namespace rover {

enum class Mode : std::uint8_t { idle, drive, dock = 7 };
HORUS_ENUM(Mode, idle, drive, dock);
struct Wheel {
  double speed = 0;
  float torque = 0;
};
HORUS_MESSAGE(Wheel, speed, torque);
struct Fault {
  horus::Text<16> what;
  std::uint32_t code = 0;
};
HORUS_MESSAGE(Fault, what, code);
struct Drive {
  horus::Stamp stamp;
  horus::Text<32> frame;
  std::array<Wheel, 4> wheels;
  horus::Sequence<Fault, 8> faults;
  Mode mode = Mode::idle;
  using Tail = float;
};
HORUS_MESSAGE(Drive, stamp, frame, wheels, faults, mode);
inline void horus_about(horus::About& about, const Drive* /*type*/) {
  about.ros("rover_msgs/msg/DriveState").tail("ranges", "m", "after wheels");
  about.field("wheels").unit("rad/s");
  about.field("frame").ros("frame_id");
}

struct Plain {
  int a;
  double b;
};
struct Odd {  // what layouts have to tell in their own words
  float matrix[3][4];
  std::array<std::array<std::uint8_t, 2>, 5> pairs;
  char names[2][8];
  Plain plain;
  long double precise;
  std::byte spare;
  char letter;
  bool on;
  Mode modes[3];
  union {
    std::int16_t volts;
  } overlaid;
};
HORUS_MESSAGE(Odd, matrix, pairs, names, plain, precise, spare, letter, on, modes, overlaid);

struct Counted {
  std::int64_t stamp_ns = 0;
  std::uint32_t used = 0;
  std::array<float, 6> cells{};
};
HORUS_MESSAGE(Counted, stamp_ns, used, cells);
inline void horus_about(horus::About& about, const Counted* /*type*/) {
  about.field("cells").counted_by("used").unit("V");
  about.field("stamp_ns").stamp().ros("stamp");
}

struct Overlaid {
  union {
    std::int32_t volts;
    std::uint32_t amperes;
  };
};
HORUS_MESSAGE(Overlaid, volts, amperes);
struct Misnamed {
  int speed = 0;
};
HORUS_MESSAGE(Misnamed, speed);
inline void horus_about(horus::About& about, const Misnamed* /*type*/) { about.field("sped").unit("m/s"); }
struct Tailless {
  int speed = 0;
};
HORUS_MESSAGE(Tailless, speed);
inline void horus_about(horus::About& about, const Tailless* /*type*/) { about.tail("ranges"); }
struct Miscounted {
  std::uint16_t used = 0;
  std::array<float, 6> cells{};
};
HORUS_MESSAGE(Miscounted, used, cells);
inline void horus_about(horus::About& about, const Miscounted* /*type*/) {
  about.field("cells").counted_by("used");
}
struct Unlikely {
  int speed = 0;
};
HORUS_MESSAGE(Unlikely, speed);
inline void horus_about(horus::About& about, const Unlikely* /*type*/) { about.ros("rover/Unlikely"); }

struct Wide {
  std::uint8_t a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1, c2, c3,
      c4, c5, c6, c7, c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9,
      f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, g0, g1, g2, g3;
};
HORUS_MESSAGE(Wide, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, c0, c1,
              c2, c3, c4, c5, c6, c7, c8, c9, d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, e0, e1, e2, e3, e4, e5,
              e6, e7, e8, e9, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, g0, g1, g2, g3);

}  // namespace rover

namespace {

using horus::describe;
using horus::Description;
using horus::layout_of;
using Code = Description::Code;
using Shape = Description::Shape;

template <class T>
void check_derived_layout() {
  const horus::Layout derived = describe<T>().layout();
  const horus::Layout& mine = layout_of<T>();
  CHECK(derived.describe() == mine.describe());
  CHECK(derived.alignment == mine.alignment);
  CHECK(derived.tail_offset == mine.tail_offset);
  CHECK(derived.element_bytes == mine.element_bytes);
  CHECK(derived.hash == mine.hash);
  const auto bytes = describe<T>().encode();
  const auto back = Description::decode(bytes);
  REQUIRE_MESSAGE(back.ok(), back.error().what());
  CHECK(*back == describe<T>());
  CHECK(back->encode() == bytes);
  CHECK(back->layout().hash == mine.hash);
}

template <class T>
std::string problem_of() {
  try {
    describe<T>();
  } catch (const horus::Error& error) {
    CHECK(error.code() == horus::kBadInput);
    return error.what();
  }
  return "none";
}

std::string refusal(const Description& description) {
  const auto bytes = description.encode();
  const auto back = Description::decode(bytes);
  return back ? "none" : std::string(back.error().target());
}

}  // namespace

TEST_SUITE("msg/description") {
  TEST_CASE("a description has the types in the order of their first use, and what they are made of") {
    const Description& drive = describe<rover::Drive>();
    REQUIRE(drive.types.size() == 4);
    CHECK(drive.root().name == "rover::Drive");
    CHECK(drive.root().ros_name == "rover_msgs/msg/DriveState");
    CHECK(drive.root().size == sizeof(rover::Drive));
    CHECK(drive.root().alignment == 8);
    CHECK(drive.types[1].name == "rover::Wheel");
    CHECK(drive.types[2].name == "rover::Fault");
    CHECK(drive.types[3].name == "rover::Mode");
    CHECK(drive.types[3].kind == Description::Kind::enumeration);
    CHECK(drive.types[3].code == Code::u8);
    CHECK(drive.types[3].constants ==
          std::vector<Description::Constant>{{"idle", 0}, {"drive", 1}, {"dock", 7}});

    const auto& members = drive.root().members;
    REQUIRE(members.size() == 5);
    CHECK(members[0].code == Code::stamp);
    CHECK(members[1].code == Code::text);
    CHECK(members[1].text_bytes == 32);
    CHECK(members[1].ros_name == "frame_id");
    CHECK(members[2].shape == Shape::array);
    CHECK(members[2].extents == std::vector<std::uint32_t>{4});
    CHECK(members[2].type == 1);
    CHECK(members[2].unit == "rad/s");
    CHECK(members[3].shape == Shape::sequence);
    CHECK(members[3].extents == std::vector<std::uint32_t>{8});
    CHECK(members[3].count_offset == offsetof(rover::Drive, faults));
    CHECK(members[3].offset == offsetof(rover::Drive, faults) + 4);
    CHECK(members[4].code == Code::u8);
    CHECK(members[4].type == 3);
    REQUIRE(drive.tail.has_value());
    CHECK(drive.tail->element.name == "ranges");
    CHECK(drive.tail->element.unit == "m");
    CHECK(drive.tail->element.code == Code::f32);
    CHECK(drive.tail->place == 3);
    CHECK(drive.tail_bytes() == 4);
  }

  TEST_CASE("what the ends of a link compare follows from the description, word for word") {
    check_derived_layout<rover::Drive>();
    check_derived_layout<rover::Odd>();
    check_derived_layout<rover::Counted>();
    check_derived_layout<rover::Plain>();
    check_derived_layout<rover::Wide>();
    check_derived_layout<std::string>();
    check_derived_layout<std::vector<float>>();
    check_derived_layout<std::vector<rover::Plain>>();
    check_derived_layout<std::vector<rover::Wheel>>();
    check_derived_layout<std::vector<std::array<float, 3>>>();
    check_derived_layout<horus::messages::Imu>();
    check_derived_layout<horus::messages::Twist>();
    check_derived_layout<horus::messages::Pose>();
    check_derived_layout<horus::messages::Odometry>();
    check_derived_layout<horus::messages::JointState>();
    check_derived_layout<horus::messages::LaserScan>();
    check_derived_layout<horus::messages::BatteryState>();
    check_derived_layout<horus::messages::NavSatFix>();
    check_derived_layout<horus::messages::Image>();
    check_derived_layout<horus::messages::PointCloud>();
  }

  TEST_CASE("new kinds of fields have words of their own in a layout") {
    CHECK(layout_of<rover::Drive>().fields ==
          "i64 stamp @0, char[32] frame @8, {f64 speed @0, f32 torque @8}[4] wheels @40, "
          "{char[16] what @0, u32 code @16}[<=8] faults @104, u8 mode @268, then f32s");
    CHECK(layout_of<rover::Wide>().fields.ends_with("u8 g3 @63"));
  }

  // The same from every compiler, today and tomorrow.
  TEST_CASE("the identity counts units and names, the layout's hash counts bytes alone") {
    Description drive = describe<rover::Drive>();
    CHECK(drive.identity() == 15349606048545267954U);
    CHECK(describe<std::string>().identity() == 3992931950936514588U);
    CHECK(describe<horus::messages::Imu>().identity() == 2633937412427172057U);
    CHECK(describe<horus::messages::Odometry>().identity() == 10742410347237449056U);
    const auto identity = drive.identity();
    const auto hash = drive.layout().hash;
    drive.types[0].members[2].unit = "rpm";
    CHECK(drive.identity() != identity);
    CHECK(drive.layout().hash == hash);
    drive = describe<rover::Drive>();
    drive.types[3].constants[0].name = "still";
    CHECK(drive.identity() != identity);
    CHECK(drive.layout().hash == hash);
  }

  TEST_CASE("an array that another field counts is a sequence, and its bytes are what they were") {
    const Description& counted = describe<rover::Counted>();
    const auto& members = counted.root().members;
    CHECK(members[0].code == Code::stamp);
    CHECK(members[1].hidden);
    CHECK(members[2].shape == Shape::sequence);
    CHECK(members[2].count_offset == 8);
    CHECK(counted.layout().fields == "i64 stamp_ns @0, u32 used @8, f32[6] cells @12");
  }

  TEST_CASE("what is told about fields that are not there is an error that lists those that are") {
    CHECK(problem_of<rover::Misnamed>().find("rover::Misnamed: horus_about names a field \"sped\", which "
                                             "HORUS_MESSAGE does not list (it lists "
                                             "speed)") != std::string::npos);
    // Whoever wants to send such messages is told at once.
    horus::Hub hub;
    CHECK_THROWS_WITH_AS(static_cast<void>(hub.advertise<rover::Misnamed>("speed")),
                         doctest::Contains("sped"), horus::Error);
    CHECK_THROWS_WITH_AS(static_cast<void>(hub.subscribe<rover::Misnamed>("speed")),
                         doctest::Contains("sped"), horus::Error);
    CHECK(problem_of<rover::Tailless>().find("names a tail, and the struct has no") != std::string::npos);
    CHECK(problem_of<rover::Miscounted>().find("must be a std::uint32_t") != std::string::npos);
    CHECK(problem_of<rover::Unlikely>().find("no name of a ROS message") != std::string::npos);
    CHECK(problem_of<rover::Overlaid>().find("two fields in one place") != std::string::npos);
    CHECK(problem_of<rover::Misnamed>() != "none");  // again, each time
  }

  TEST_CASE("a binary form that is cut, long or not one is refused") {
    const auto bytes = describe<rover::Drive>().encode();
    for (std::size_t size = 0; size < bytes.size(); ++size)
      CHECK_FALSE(Description::decode(std::span(bytes).first(size)).ok());
    auto longer = bytes;
    longer.push_back(std::byte{0});
    CHECK_FALSE(Description::decode(longer).ok());
    CHECK_FALSE(Description::decode(std::vector<std::byte>(Description::kMostBytes + 1)).ok());
  }

  // Whatever bit is changed: refused, or another description that is sound.
  TEST_CASE("a binary form with a changed bit is refused or encodes to the same bytes") {
    const auto bytes = describe<rover::Drive>().encode();
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      auto changed = bytes;
      changed[bit / 8] ^= std::byte{1} << (bit % 8);
      const auto back = Description::decode(changed);
      if (back) {
        CHECK(back->encode() == changed);
        CHECK(back->identity() != describe<rover::Drive>().identity());
      } else {
        ++refused;
      }
    }
    CHECK(refused > bytes.size());
  }

  TEST_CASE("a description that contradicts itself is refused by name") {
    const Description sound = describe<rover::Drive>();
    CHECK(refusal(sound) == "none");
    Description wrong = sound;
    wrong.types[1].members[0].code = Code::structure;
    wrong.types[1].members[0].type = 1;
    CHECK(refusal(wrong) == "rover::Wheel::speed: a type within itself");
    wrong = sound;
    std::swap(wrong.types[1], wrong.types[2]);
    wrong.types[0].members[2].type = 2;
    wrong.types[0].members[3].type = 1;
    CHECK(refusal(wrong) == "rover::Drive::wheels: types out of order");
    wrong = sound;
    wrong.types[0].members[2].extents = {UINT32_MAX};
    CHECK(refusal(wrong) == "rover::Drive::wheels: a field larger than a message");
    wrong.types[0].members[2].extents = {65536, 65536, 65536, 65536, 65536};
    CHECK(refusal(wrong) == "rover::Drive::wheels: a field larger than a message");
    wrong.types[0].members[2].extents = {0};
    CHECK(refusal(wrong) == "rover::Drive::wheels: an array without elements");
    wrong = sound;
    wrong.types[0].members[4].offset = wrong.types[0].size;
    CHECK(refusal(wrong) == "rover::Drive: a field behind the end");
    wrong = sound;
    wrong.types[0].members[4].offset = 3;
    CHECK(refusal(wrong) == "rover::Drive: two fields in one place (members of a union?)");
    wrong = sound;
    wrong.types[0].members[3].count_offset = 0;
    CHECK(refusal(wrong) == "rover::Drive: two fields in one place (members of a union?)");
    wrong = sound;
    wrong.types[0].members[4].name = "stamp";
    CHECK(refusal(wrong) == "rover::Drive::stamp: two fields of one name");
    wrong = sound;
    wrong.types[0].members[4].hidden = true;
    CHECK(refusal(wrong) == "rover::Drive::mode: a count that is no u32");
    wrong = sound;
    wrong.tail->place = 6;
    CHECK(refusal(wrong) == "tail: after a field that is not there");
    wrong = sound;
    wrong.tail->element.offset = 0;
    CHECK(refusal(wrong) == "tail: in no place of a tail");
    wrong = sound;
    wrong.types.push_back(wrong.types[3]);
    CHECK(refusal(wrong) == "tail: a type is not used");
    wrong = sound;
    wrong.types[3].constants[1].name = "idle";
    CHECK(refusal(wrong) == "rover::Mode: two constants of one name");
    wrong = sound;
    wrong.types[1].alignment = 3;
    CHECK(refusal(wrong) == "rover::Wheel: an alignment that cannot be");
    wrong = sound;
    wrong.types[0].members[0].name = "two words";
    CHECK(refusal(wrong).find("a field without a name") != std::string::npos);
  }

  // 64 fields of a type with 64 fields of a type …: little to send, and without end to write out.
  TEST_CASE("types that unfold to very many fields are refused") {
    Description wide;
    for (std::uint16_t level = 0; level < 4; ++level) {
      Description::Type type;
      type.name = "level" + std::to_string(level);
      type.size = 64U << (6 * (3 - level));
      for (std::uint32_t i = 0; i < 64; ++i) {
        Description::Member member;
        member.name = "m" + std::to_string(i);
        member.code = level == 3 ? Code::u8 : Code::structure;
        if (level < 3) member.type = static_cast<std::uint16_t>(level + 1);
        member.offset = i * type.size / 64;
        type.members.push_back(member);
      }
      wide.types.push_back(type);
    }
    CHECK(refusal(wide).find("too many fields in all nested types together") != std::string::npos);
  }

  TEST_CASE("text, sequences and stamps are values in a message") {
    horus::Text<8> name{"base"};
    CHECK(name == "base");
    CHECK_FALSE(name.set("something long"));
    CHECK(name.view() == "somethin");
    CHECK(name.set("a"));
    CHECK(name.bytes[7] == '\0');
    horus::Sequence<int, 2> numbers;
    CHECK(numbers.push_back(1));
    CHECK(numbers.push_back(2));
    CHECK_FALSE(numbers.push_back(3));
    numbers.count = 900;  // as a peer may write it
    CHECK(numbers.size() == 2);
    CHECK(numbers.values().back() == 2);
    numbers.clear();
    CHECK(numbers.empty());
    CHECK(numbers.items[1] == 0);
    CHECK(horus::Stamp{1} < horus::Stamp{2});
  }
}
