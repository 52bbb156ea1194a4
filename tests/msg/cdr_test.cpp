// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/cdr.hpp>

#include <algorithm>
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

#include <horus/msg/codec/cdr_plan.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

#include "../support/random_message.hpp"

namespace parcel {

enum class Mode : std::uint8_t { idle, drive, dock = 7 };
HORUS_ENUM(Mode, idle, drive, dock);
struct Small {
  std::uint8_t a = 0;
  double b = 0;
};
HORUS_MESSAGE(Small, a, b);
struct Fault {
  horus::Text<6> what;
  std::uint16_t code = 0;
  horus::Sequence<std::uint8_t, 3> bytes;
};
HORUS_MESSAGE(Fault, what, code, bytes);
struct Plain {
  std::int16_t a;
  std::int8_t b;
};
struct Everything {
  horus::Stamp stamp;
  horus::Text<9> frame;
  std::uint8_t first = 0;
  std::array<Small, 3> small;
  horus::Sequence<Fault, 4> faults;
  horus::Sequence<double, 5> numbers;
  horus::Sequence<horus::Stamp, 2> times;
  horus::Sequence<horus::Text<4>, 3> words;
  horus::Sequence<bool, 5> flags;
  horus::Sequence<Plain, 3> plain;
  Mode mode = Mode::idle;
  float matrix[2][3];
  bool pairs[2][2];
  char names[2][5];
  Plain opaque[2];
  long double precise;
  std::int64_t last = 0;
  using Tail = Fault;
};
HORUS_MESSAGE(Everything, stamp, frame, first, small, faults, numbers, times, words, flags, plain, mode,
              matrix, pairs, names, opaque, precise, last);
inline void horus_about(horus::About& about, const Everything* /*type*/) {
  about.tail("more", "", "after numbers");
}
struct Grouped {
  std::uint8_t kind = 0;
  using Tail = std::array<std::int16_t, 3>;
};
HORUS_MESSAGE(Grouped, kind);
struct Letters {
  std::uint16_t kind = 0;
  using Tail = char;
};
HORUS_MESSAGE(Letters, kind);
inline void horus_about(horus::About& about, const Letters* /*type*/) { about.tail("text", "", "first"); }
struct Counted {
  std::uint32_t used = 0;
  std::array<float, 6> cells{};
  std::uint64_t after = 0;
};
HORUS_MESSAGE(Counted, used, cells, after);
inline void horus_about(horus::About& about, const Counted* /*type*/) {
  about.field("cells").counted_by("used");
}

}  // namespace parcel

namespace {

using horus::Cdr;
using horus::cdr_of;
using horus::describe;
using horus::test::MessageMaker;
using horus::test::RandomMessage;
namespace messages = horus::messages;
using Bytes = std::vector<std::byte>;

template <class T>
Bytes bytes_of(const T& value) {
  const auto* first = reinterpret_cast<const std::byte*>(&value);
  return {first, first + sizeof(T)};
}
Bytes bytes(std::initializer_list<int> numbers) {
  Bytes made;
  for (const int number : numbers) made.push_back(static_cast<std::byte>(number));
  return made;
}
std::span<const std::byte> letters(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

Bytes written(const Cdr& cdr, std::span<const std::byte> head, std::span<const std::byte> tail = {}) {
  Bytes to(cdr.size(head, tail).or_throw());
  CHECK(cdr.write(head, tail, to).or_throw() == to.size());
  return to;
}

template <class T>
void check_round_trips(int rounds = 300) {
  const Cdr& cdr = cdr_of<T>();
  MessageMaker maker(7);
  RandomMessage back;
  for (int i = 0; i < rounds; ++i) {
    const RandomMessage message = maker.make(describe<T>());
    const Bytes wire = written(cdr, message.head, message.tail);
    const auto read = cdr.read(wire, back.head, back.tail);
    REQUIRE_MESSAGE(read.ok(), read.error().what());
    REQUIRE(back == message);
    // Cut anywhere, it is no message; unless what is missing is padding.
    if (i < 3) {
      for (std::size_t size = 0; size < wire.size(); ++size)
        CHECK_FALSE(cdr.read(std::span(wire).first(size), back.head, back.tail).ok());
    }
  }
}

std::string refusal(const Cdr& cdr, std::span<const std::byte> wire) {
  Bytes head, tail;
  const auto read = cdr.read(wire, head, tail);
  return read ? "none" : std::string(read.error().target());
}

}  // namespace

TEST_SUITE("msg/cdr") {
  TEST_CASE("numbers stand at multiples of their size behind the header, and what pads is zero") {
    struct alignas(8) Garbage {
      std::byte bytes[sizeof(parcel::Small)];
    } garbage;
    std::memset(&garbage, 0xee, sizeof garbage);
    parcel::Small small{3, 1.0};
    std::memcpy(garbage.bytes, &small.a, 1);
    std::memcpy(garbage.bytes + offsetof(parcel::Small, b), &small.b, 8);
    CHECK(written(cdr_of<parcel::Small>(), garbage.bytes) ==
          bytes({0, 1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f}));
  }

  TEST_CASE("text ends with a zero that its length counts, and a tail stands where the message says") {
    const parcel::Letters head{5};
    CHECK(written(cdr_of<parcel::Letters>(), bytes_of(head), letters("abc")) ==
          bytes({0, 1, 0, 0, 4, 0, 0, 0, 'a', 'b', 'c', 0, 5, 0}));
    CHECK(written(cdr_of<std::string>(), {}, letters("")) == bytes({0, 1, 0, 0, 1, 0, 0, 0, 0}));
  }

  TEST_CASE("an empty list is its length alone; nothing is aligned for values that are not there") {
    parcel::Counted counted;
    counted.after = 1;
    CHECK(written(cdr_of<parcel::Counted>(), bytes_of(counted)) ==
          bytes({0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}));
    counted.used = 900;  // as a peer may write it
    CHECK(written(cdr_of<parcel::Counted>(), bytes_of(counted)).size() == 4 + 4 + 24 + 4 + 8);
    CHECK(written(cdr_of<std::vector<double>>(), {}) == bytes({0, 1, 0, 0, 0, 0, 0, 0}));
  }

  TEST_CASE("a time is seconds and nanoseconds; one that ROS cannot have becomes the next one") {
    using horus::msg::to_ros_time;
    CHECK(to_ros_time(1'500'000'000).sec == 1);
    CHECK(to_ros_time(1'500'000'000).nanosec == 500'000'000);
    CHECK(to_ros_time(-1).sec == -1);
    CHECK(to_ros_time(-1).nanosec == 999'999'999);
    CHECK(to_ros_time(INT64_MAX).sec == INT32_MAX);
    CHECK(to_ros_time(INT64_MIN).sec == INT32_MIN);
    for (const std::int64_t ns : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'700'000'000'123'456'789}})
      CHECK(horus::msg::from_ros_time(to_ros_time(ns)) == ns);
  }

  TEST_CASE("a message that lies in memory as CDR has it is one copy") {
    CHECK(horus::msg::CdrPlan(describe<messages::Twist>()).steps().size() == 1);
    CHECK(horus::msg::CdrPlan(describe<messages::Pose>()).steps().size() == 1);
    CHECK(horus::msg::CdrPlan(describe<messages::PoseWithCovariance>()).steps().size() == 1);
    CHECK(horus::msg::CdrPlan(describe<messages::Imu>()).steps().size() == 3);  // stamp, frame, all the rest
    CHECK(horus::msg::CdrPlan(describe<std::vector<messages::CloudPoint>>()).steps().front().packed);
  }

  TEST_CASE("random messages of every kind come back as they were") {
    check_round_trips<parcel::Everything>(1000);
    check_round_trips<parcel::Grouped>();
    check_round_trips<parcel::Counted>();
    check_round_trips<parcel::Letters>();
    check_round_trips<parcel::Plain>();
    check_round_trips<std::string>();
    check_round_trips<std::vector<double>>();
    check_round_trips<std::vector<parcel::Fault>>();
    check_round_trips<messages::Imu>();
    check_round_trips<messages::Twist>();
    check_round_trips<messages::Pose>();
    check_round_trips<messages::Odometry>();
    check_round_trips<messages::JointState>();
    check_round_trips<messages::LaserScan>();
    check_round_trips<messages::BatteryState>();
    check_round_trips<messages::NavSatFix>();
    check_round_trips<messages::Image>();
    check_round_trips<messages::PointCloud>();
    check_round_trips<messages::Temperature>(50);
    check_round_trips<messages::MagneticField>(50);
    check_round_trips<messages::Range>(50);
    check_round_trips<messages::Joy>(50);
    check_round_trips<messages::PoseStamped>(50);
    check_round_trips<messages::TwistStamped>(50);
    check_round_trips<messages::TransformStamped>(50);
    check_round_trips<messages::TFMessage>(50);
    check_round_trips<messages::Path>(50);
    check_round_trips<messages::OccupancyGrid>(50);
    check_round_trips<messages::CompressedImage>(50);
    check_round_trips<messages::CameraInfo>(50);
    check_round_trips<messages::PointCloud2>(50);
    check_round_trips<messages::DiagnosticArray>(50);
    check_round_trips<messages::Log>(50);
    check_round_trips<messages::Header>(50);
  }

  TEST_CASE("what cannot be is refused with byte, field and reason") {
    const Cdr& cdr = cdr_of<parcel::Letters>();
    CHECK(refusal(cdr, bytes({0, 0, 0, 0})).find("does not begin with 00 01") != std::string::npos);
    CHECK(refusal(cdr, bytes({0, 1, 0, 0, 9, 0, 0, 0, 'a', 0, 0, 0})) ==
          "parcel/msg/Letters, byte 8, text: text of 9 bytes, and 4 are left");
    CHECK(refusal(cdr, bytes({0, 1, 0, 0, 1, 0, 0, 0, 'a', 0, 0, 0})) ==
          "parcel/msg/Letters, byte 9, text: text without a zero behind it");
    CHECK(refusal(cdr, bytes({0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0})) == "none");  // padding
    CHECK(refusal(cdr, bytes({0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0})) ==
          "parcel/msg/Letters, byte 12: 4 bytes behind the message");
    const Cdr& faults = cdr_of<parcel::Fault>();
    CHECK(refusal(faults, bytes({0, 1, 0, 0, 8, 0, 0, 0, 'a', 'b', 'c', 'd', 'e', 'f', 'g', 0})) ==
          "parcel/msg/Fault, byte 16, what: text of 7 bytes, and room for 6");
    CHECK(refusal(faults, bytes({0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 2, 0, 4, 0, 0, 0, 1, 2, 3, 4})) ==
          "parcel/msg/Fault, byte 16, bytes: a list of 4 values, and room for 3");
    CHECK(refusal(cdr_of<parcel::Grouped>(), bytes({0, 1, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0})) ==
          "parcel/msg/Grouped, byte 12, tail: a list of 2 values is no multiple of 3");
    // Four milliards of values, and none of them there.
    CHECK(refusal(cdr_of<std::vector<double>>(), bytes({0, 1, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0})) ==
          "horus_user/msg/VectorOfF64, byte 8, data: a list of 4294967295 values, and 4 bytes are left");
  }

  TEST_CASE("lengths that the type cannot have, and a buffer that is too small, are errors") {
    const Cdr& cdr = cdr_of<parcel::Grouped>();
    Bytes to(100);
    CHECK(cdr.write(Bytes(2), {}, to).error().code() == EINVAL);
    CHECK(cdr.write(Bytes(1), Bytes(7), to).error().code() == EINVAL);
    CHECK(cdr.write(Bytes(1), Bytes(6), std::span(to).first(17)).error().code() == ENOBUFS);
    CHECK(cdr.write(Bytes(1), Bytes(6), std::span(to).first(18)).or_throw() == 18);
    CHECK(cdr.write(Bytes(1), Bytes(6), std::span(to).first(3)).error().code() == ENOBUFS);
    Bytes guarded(20, std::byte{0x77});  // nothing is written behind the room, wherever it ends
    for (std::size_t room = 0; room <= 18; ++room) {
      std::fill(guarded.begin(), guarded.end(), std::byte{0x77});
      CHECK(cdr.write(Bytes(1), Bytes(6), std::span(guarded).first(room)).ok() == (room == 18));
      CHECK(std::all_of(guarded.begin() + static_cast<std::ptrdiff_t>(room), guarded.end(),
                        [](std::byte byte) { return byte == std::byte{0x77}; }));
    }
    CHECK_THROWS_AS(Cdr(horus::Description{}), horus::Error);
  }

  TEST_CASE("joints are four lists in ROS, and a quantity that no joint knows is an empty one") {
    const double unknown = std::numeric_limits<double>::quiet_NaN();
    const std::array<messages::Joint, 2> joints{messages::Joint{messages::Text<32>{"a"}, 1, unknown, unknown},
                                                messages::Joint{messages::Text<32>{"b"}, 2, unknown, 3}};
    const Bytes tail = bytes_of(joints);
    const Cdr& cdr = cdr_of<messages::JointState>();
    const Bytes wire = written(cdr, bytes_of(messages::JointState{}), tail);
    // header 13, names 16 + (4 + 2) + 2 + (4 + 2), then 8 + 16, 4, 4 + 16
    Bytes head, back;
    REQUIRE(cdr.read(wire, head, back).ok());
    REQUIRE(back.size() == tail.size());
    std::array<messages::Joint, 2> read;
    std::memcpy(&read, back.data(), sizeof read);
    CHECK(read[1].name == "b");
    CHECK(read[1].position == 2);
    CHECK(std::isnan(read[0].velocity));
    CHECK(std::isnan(read[0].effort));
    CHECK(read[1].effort == 3);
  }

  TEST_CASE("a scan's tail is ranges and intensities in ROS") {
    messages::LaserScan scan;
    scan.beams = 2;
    const std::array<float, 4> tail{1, 2, 30, 40};
    const Cdr& cdr = cdr_of<messages::LaserScan>();
    const Bytes wire = written(cdr, bytes_of(scan), bytes_of(tail));
    CHECK(Bytes(wire.end() - 24, wire.end()) == bytes({2, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0,    0x40,
                                                       2, 0, 0, 0, 0, 0, 0xf0, 0x41, 0, 0, 0x20, 0x42}));
  }

  TEST_CASE("clouds of other programs are read by the names of their fields, row by row") {
    Bytes wire = bytes({0, 1, 0, 0});
    Bytes body(4096);
    horus::msg::CdrWriter to(body);
    const auto field = [&](std::string_view name, std::uint32_t offset, std::uint8_t datatype) {
      to.text(name);
      to.number(offset);
      to.number(datatype);
      to.number(std::uint32_t{1});
    };
    const auto cloud = [&](std::uint32_t row_step, std::uint32_t z_offset, std::uint8_t big) {
      to = horus::msg::CdrWriter(body);
      to.time(5);
      to.text("lidar");
      to.number(std::uint32_t{2});
      to.number(std::uint32_t{1});
      to.number(std::uint32_t{4});
      field("ring", 0, 4);
      field("z", z_offset, 8);
      field("x", 2, 3);
      field("y", 4, 7);
      to.number(big);
      to.number(std::uint32_t{16});
      to.number(row_step);
      to.number(std::uint32_t{2 * 20});
      for (int row = 0; row < 2; ++row) {
        const std::int16_t x = static_cast<std::int16_t>(-3 - row);
        const float y = 0.5F;
        const double z = 2.25 + row;
        std::byte point[20]{};
        std::memcpy(point + 2, &x, 2);
        std::memcpy(point + 4, &y, 4);
        std::memcpy(point + 8, &z, 8);
        to.bytes(point, sizeof point);
      }
      to.number(std::uint8_t{1});
      Bytes made = wire;
      made.insert(made.end(), body.begin(), body.begin() + static_cast<std::ptrdiff_t>(to.position()));
      return made;
    };
    const Cdr& cdr = cdr_of<messages::PointCloud>();
    Bytes head, tail;
    const auto read = cdr.read(cloud(20, 8, 0), head, tail);
    REQUIRE_MESSAGE(read.ok(), read.error().what());
    REQUIRE(tail.size() == 2 * sizeof(messages::CloudPoint));
    std::array<messages::CloudPoint, 2> points;
    std::memcpy(&points, tail.data(), sizeof points);
    CHECK(points[1].x == -4);
    CHECK(points[1].y == 0.5F);
    CHECK(points[1].z == 3.25F);
    CHECK(refusal(cdr, cloud(25, 8, 0)).find("fewer bytes") != std::string::npos);
    CHECK(refusal(cdr, cloud(20, 9, 0)).find("behind the end of its point") != std::string::npos);
    CHECK(refusal(cdr, cloud(20, 8, 1)).find("is_bigendian: points with the big end") != std::string::npos);
  }
}
