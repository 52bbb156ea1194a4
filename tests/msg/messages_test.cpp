// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/messages.hpp>

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/hub.hpp>

namespace {

using namespace horus::messages;
using horus::layout_of;

template <class T>
void check_layout(std::string_view name, std::uint32_t element_bytes, std::uint64_t hash) {
  static_assert(horus::Message<T> && std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T>);
  const horus::Layout& layout = layout_of<T>();
  CAPTURE(layout.describe());
  CHECK(layout.name == name);
  CHECK(layout.head_bytes == sizeof(T));
  CHECK(layout.alignment == 8);
  CHECK(layout.element_bytes == element_bytes);
  CHECK(layout.tail_offset == (element_bytes == 0 ? sizeof(T) : layout.tail_offset));
  CHECK(layout.hash == hash);
}

}  // namespace

TEST_SUITE("msg/messages") {
  // The same from every compiler, today and tomorrow: programs of different builds compare them when they meet.
  TEST_CASE("every ready message has the layout that it always had") {
    check_layout<Imu>("horus::messages::Imu", 0, 5664161331168801166U);
    check_layout<Twist>("horus::messages::Twist", 0, 7399779860259418784U);
    check_layout<Pose>("horus::messages::Pose", 0, 255213549444967231U);
    check_layout<Odometry>("horus::messages::Odometry", 0, 7845341208893108499U);
    check_layout<JointState>("horus::messages::JointState", 56, 7142860765067187105U);
    check_layout<LaserScan>("horus::messages::LaserScan", 4, 9755215045439775012U);
    check_layout<BatteryState>("horus::messages::BatteryState", 0, 8754590052001188177U);
    check_layout<NavSatFix>("horus::messages::NavSatFix", 0, 15935285513932909375U);
    check_layout<Image>("horus::messages::Image", 1, 15664625758671835405U);
    check_layout<PointCloud>("horus::messages::PointCloud", 16, 12441482510094810470U);
  }

  TEST_CASE("a layout tells the fields, those of the tail too") {
    CHECK(layout_of<Twist>().fields ==
          "{f64 x @0, f64 y @8, f64 z @16} linear @0, {f64 x @0, f64 y @8, f64 z @16} angular @24");
    CHECK(layout_of<JointState>().describe() ==
          "horus::messages::JointState {{i64 stamp_ns @0, char[32] frame_id @8} header @0, then {char[32] "
          "name @0, "
          "f64 position @32, f64 velocity @40, f64 effort @48}s}, 40 bytes, then elements of 56 bytes");
    CHECK(layout_of<Image>().fields ==
          "{i64 stamp_ns @0, char[32] frame_id @8} header @0, u32 height @40, u32 width @44, char[16] "
          "encoding @48, "
          "u32 step @64, u32 is_bigendian @68, then u8s");
    CHECK(layout_of<NavSatFix>().fields ==
          "{i64 stamp_ns @0, char[32] frame_id @8} header @0, {i16 status @0, u16 service @2} status @40, "
          "u32 position_covariance_type @44, f64 latitude @48, f64 longitude @56, f64 altitude @64, "
          "f64[9] position_covariance @72");
    CHECK(layout_of<std::vector<CloudPoint>>().fields == "f32 x @0, f32 y @4, f32 z @8, f32 intensity @12");
  }

  TEST_CASE("text in a message is cut to its field, and the whole field may be used") {
    Header header;
    CHECK(header.frame().empty());
    CHECK(header.set_frame("a frame with a long name"));
    CHECK(header.set_frame("base_link"));
    CHECK(header.frame() == "base_link");
    CHECK(header.frame_id.bytes[9] == '\0');
    CHECK(header.frame_id.bytes[20] == '\0');  // nothing is left of the name before
    CHECK(header.set_frame(std::string(32, 'x')));
    CHECK(header.frame() == std::string(32, 'x'));
    CHECK_FALSE(header.set_frame(std::string(33, 'y')));
    CHECK(header.frame() == std::string(32, 'y'));
    Image image;
    CHECK(image.encoding.set("rgb8"));
    CHECK(image.encoding == "rgb8");
  }

  TEST_CASE("a scan has ranges and intensities, whatever its head claims") {
    LaserScan scan;
    const std::vector<float> tail{1, 2, 3, 10, 20, 30};
    scan.beams = 3;
    CHECK(scan.ranges(tail).size() == 3);
    CHECK(scan.ranges(tail)[2] == 3);
    CHECK(scan.intensities(tail)[0] == 10);
    CHECK(scan.intensities(tail).size() == 3);
    scan.beams = 6;
    CHECK(scan.ranges(tail).size() == 6);
    CHECK(scan.intensities(tail).empty());
    scan.beams = UINT32_MAX;
    CHECK(scan.ranges(tail).size() == 6);
    CHECK(scan.intensities(tail).empty());
    CHECK(scan.ranges({}).empty());
  }

  TEST_CASE("a picture's row is empty when the tail is too short for it") {
    Image image;
    image.height = 2;
    image.width = 2;
    image.step = 3;
    const std::vector<std::uint8_t> tail{1, 2, 3, 4, 5, 6};
    CHECK(image.row(tail, 1)[0] == 4);
    CHECK(image.row(tail, 2).empty());
    image.height = UINT32_MAX;
    CHECK(image.row(tail, 2).empty());
    image.step = UINT32_MAX;
    CHECK(image.row(tail, UINT32_MAX - 1).empty());
    CHECK(image.row(tail, 0).empty());
  }

  TEST_CASE("they travel, with and without a tail") {
    const horus::Hub hub("rover");
    auto imu = hub.advertise<Imu>("imu");
    auto imu_in = hub.subscribe<Imu>("imu");
    Imu reading;
    reading.header.set_frame("imu_link");
    reading.angular_velocity.z = 0.25;
    CHECK(imu.send(reading));
    auto got = imu_in.try_recv();
    REQUIRE(got.has_value());
    CHECK((*got)->header.frame() == "imu_link");
    CHECK((*got)->angular_velocity.z == 0.25);
    CHECK((*got)->orientation.w == 1);

    auto cloud = hub.advertise<PointCloud>("points");
    auto cloud_in = hub.subscribe<PointCloud>("points");
    auto loan = cloud.loan(3);
    REQUIRE(loan.ok());
    (*loan)->width = 3;
    for (CloudPoint& point : loan->tail()) point = {.x = 1, .y = 2, .z = 3, .intensity = 4};
    CHECK(cloud.publish(std::move(*loan)));
    auto points = cloud_in.try_recv();
    REQUIRE(points.has_value());
    CHECK((*points)->width == 3);
    CHECK((*points)->point_step == 16);
    REQUIRE(points->tail().size() == 3);
    CHECK(points->tail()[2].z == 3);
  }
}
