// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/codec/ready_messages.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

namespace horus::HORUS_ABI::msg {

// What ROS has instead, for its names and types: no value of these is made, so no list has more than one element.
namespace in_ros {

using messages::Header;
template <class T>
using List = Sequence<T, 1>;

struct JointState {
  Header header;
  List<Text<1>> name;
  List<double> position, velocity, effort;
};
HORUS_MESSAGE(JointState, header, name, position, velocity, effort);
inline void horus_about(About& about, const JointState* /*type*/) { about.ros("sensor_msgs/msg/JointState"); }

struct LaserScan {
  Header header;
  float angle_min, angle_max, angle_increment, time_increment, scan_time, range_min, range_max;
  List<float> ranges, intensities;
};
HORUS_MESSAGE(LaserScan, header, angle_min, angle_max, angle_increment, time_increment, scan_time, range_min,
              range_max, ranges, intensities);
inline void horus_about(About& about, const LaserScan* /*type*/) { about.ros("sensor_msgs/msg/LaserScan"); }

struct NavSatStatus {
  std::int8_t status;
  std::uint16_t service;
};
HORUS_MESSAGE(NavSatStatus, status, service);
inline void horus_about(About& about, const NavSatStatus* /*type*/) {
  about.ros("sensor_msgs/msg/NavSatStatus");
}

struct NavSatFix {
  Header header;
  NavSatStatus status;
  double latitude, longitude, altitude;
  std::array<double, 9> position_covariance;
  std::uint8_t position_covariance_type;
};
HORUS_MESSAGE(NavSatFix, header, status, latitude, longitude, altitude, position_covariance,
              position_covariance_type);
inline void horus_about(About& about, const NavSatFix* /*type*/) { about.ros("sensor_msgs/msg/NavSatFix"); }

struct Image {
  Header header;
  std::uint32_t height, width;
  Text<1> encoding;
  std::uint8_t is_bigendian;
  std::uint32_t step;
  List<std::uint8_t> data;
};
HORUS_MESSAGE(Image, header, height, width, encoding, is_bigendian, step, data);
inline void horus_about(About& about, const Image* /*type*/) { about.ros("sensor_msgs/msg/Image"); }

}  // namespace in_ros

namespace {

using Tail = std::span<const std::byte>;
using Bytes = std::vector<std::byte>;

// --- Parts that several messages have -------------------------------------------------------------------------------------

template <class T>
T value_at(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}
template <class T>
void append(Bytes& tail, const T& value) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&value);
  tail.insert(tail.end(), bytes, bytes + sizeof(T));
}

void write_header(CdrWriter& to, const messages::Header& header) {
  to.time(header.stamp_ns);
  to.text(header.frame_id);
}
bool read_header(CdrReader& from, messages::Header& header) {
  return (from.time(header.stamp_ns) || from.blame("header.stamp_ns")) &&
         (from.text(header.frame_id.bytes, sizeof header.frame_id.bytes) || from.blame("header.frame_id"));
}

template <class N>
bool read_number(CdrReader& from, const char* name, N& value) {
  return from.number(value) || from.blame(name);
}
// Narrow in ROS, wide here.
template <class N, class T>
bool read_as(CdrReader& from, const char* name, T& value) {
  N number{};
  if (!read_number(from, name, number)) return false;
  value = static_cast<T>(number);
  return true;
}

void write_numbers(CdrWriter& to, Tail numbers, std::size_t bytes_each) {
  to.number(static_cast<std::uint32_t>(numbers.size() / bytes_each));
  if (numbers.empty()) return;
  to.align(bytes_each);
  to.bytes(numbers.data(), numbers.size());
}
template <class N>
bool read_numbers(CdrReader& from, const char* name, Tail& numbers) {
  std::size_t count = 0;
  numbers = {};
  if (!from.length(count, sizeof(N))) return from.blame(name);
  if (count == 0) return true;
  if (!from.align(sizeof(N))) return from.blame(name);
  const std::byte* found = from.bytes(count * sizeof(N));
  if (found == nullptr) return from.blame(name);
  numbers = {found, count * sizeof(N)};
  return true;
}

// --- JointState: a list of joints here, four lists there -------------------------------------------------------------------

using messages::Joint;

// A quantity that no joint knows is an empty list in ROS.
void write_quantity(CdrWriter& to, Tail joints, std::size_t offset) {
  const std::size_t count = joints.size() / sizeof(Joint);
  bool known = false;
  for (std::size_t i = 0; i < count; ++i)
    known = known || !std::isnan(value_at<double>(&joints[i * sizeof(Joint) + offset]));
  to.number(static_cast<std::uint32_t>(known ? count : 0));
  if (!known) return;
  for (std::size_t i = 0; i < count; ++i) to.number(value_at<double>(&joints[i * sizeof(Joint) + offset]));
}

void write_joints(CdrWriter& to, const std::byte* head, Tail tail) {
  write_header(to, value_at<messages::JointState>(head).header);
  const std::size_t count = tail.size() / sizeof(Joint);
  to.number(static_cast<std::uint32_t>(count));
  for (std::size_t i = 0; i < count; ++i) to.text(value_at<Joint>(&tail[i * sizeof(Joint)]).name);
  write_quantity(to, tail, offsetof(Joint, position));
  write_quantity(to, tail, offsetof(Joint, velocity));
  write_quantity(to, tail, offsetof(Joint, effort));
}

bool read_quantity(CdrReader& from, const char* name, std::size_t offset, Bytes& joints) {
  Tail values;
  if (!read_numbers<double>(from, name, values)) return false;
  const std::size_t count = joints.size() / sizeof(Joint);
  if (!values.empty() && values.size() / sizeof(double) != count)
    return from.fail("not as many values as there are names"), from.blame(name);
  for (std::size_t i = 0; i < count; ++i) {
    const double value = values.empty() ? std::numeric_limits<double>::quiet_NaN()
                                        : value_at<double>(&values[i * sizeof(double)]);
    std::memcpy(&joints[i * sizeof(Joint) + offset], &value, sizeof value);
  }
  return true;
}

bool read_joints(CdrReader& from, std::byte* head, Bytes& tail) {
  messages::JointState state;
  std::size_t count = 0;
  if (!read_header(from, state.header)) return false;
  constexpr std::size_t kLeastText = 4;
  if (!from.length(count, kLeastText)) return from.blame("name");
  for (std::size_t i = 0; i < count; ++i) {
    Joint joint;
    if (!from.text(joint.name.bytes, sizeof joint.name.bytes)) return from.blame("name");
    append(tail, joint);
  }
  std::memcpy(head, &state, sizeof state);
  return read_quantity(from, "position", offsetof(Joint, position), tail) &&
         read_quantity(from, "velocity", offsetof(Joint, velocity), tail) &&
         read_quantity(from, "effort", offsetof(Joint, effort), tail);
}

// --- LaserScan: ranges and intensities one behind the other here, two lists there ------------------------------------------

constexpr std::size_t kScanFloats = 7;  // angle_min to range_max
static_assert(offsetof(messages::LaserScan, beams) ==
              offsetof(messages::LaserScan, angle_min) + kScanFloats * sizeof(float));

void write_scan(CdrWriter& to, const std::byte* head, Tail tail) {
  const auto scan = value_at<messages::LaserScan>(head);
  write_header(to, scan.header);
  to.align(sizeof(float));
  to.bytes(head + offsetof(messages::LaserScan, angle_min), kScanFloats * sizeof(float));
  const std::size_t ranges = std::min<std::size_t>(scan.beams, tail.size() / sizeof(float)) * sizeof(float);
  write_numbers(to, tail.first(ranges), sizeof(float));
  write_numbers(to, tail.subspan(ranges), sizeof(float));
}

bool read_scan(CdrReader& from, std::byte* head, Bytes& tail) {
  messages::LaserScan scan;
  Tail ranges;
  Tail intensities;
  if (!read_header(from, scan.header)) return false;
  std::memcpy(head, &scan, sizeof scan);
  if (!from.align(sizeof(float)) ||
      !from.bytes(head + offsetof(messages::LaserScan, angle_min), kScanFloats * sizeof(float)))
    return from.blame("angle_min");
  if (!read_numbers<float>(from, "ranges", ranges) || !read_numbers<float>(from, "intensities", intensities))
    return false;
  const auto beams = static_cast<std::uint32_t>(ranges.size() / sizeof(float));
  std::memcpy(head + offsetof(messages::LaserScan, beams), &beams, sizeof beams);
  tail.assign(ranges.begin(), ranges.end());
  tail.insert(tail.end(), intensities.begin(), intensities.end());
  return true;
}

// --- NavSatFix and Image: another order, and narrower numbers there --------------------------------------------------------

void write_fix(CdrWriter& to, const std::byte* head, Tail /*tail*/) {
  const auto fix = value_at<messages::NavSatFix>(head);
  write_header(to, fix.header);
  to.number(static_cast<std::int8_t>(fix.status.status));
  to.number(fix.status.service);
  to.number(fix.latitude);
  to.number(fix.longitude);
  to.number(fix.altitude);
  for (const double value : fix.position_covariance) to.number(value);
  to.number(static_cast<std::uint8_t>(fix.position_covariance_type));
}

bool read_fix(CdrReader& from, std::byte* head, Bytes& /*tail*/) {
  messages::NavSatFix fix;
  if (!read_header(from, fix.header) || !read_as<std::int8_t>(from, "status.status", fix.status.status) ||
      !read_number(from, "status.service", fix.status.service) ||
      !read_number(from, "latitude", fix.latitude) || !read_number(from, "longitude", fix.longitude) ||
      !read_number(from, "altitude", fix.altitude))
    return false;
  for (double& value : fix.position_covariance)
    if (!read_number(from, "position_covariance", value)) return false;
  if (!read_as<std::uint8_t>(from, "position_covariance_type", fix.position_covariance_type)) return false;
  std::memcpy(head, &fix, sizeof fix);
  return true;
}

void write_image(CdrWriter& to, const std::byte* head, Tail tail) {
  const auto image = value_at<messages::Image>(head);
  write_header(to, image.header);
  to.number(image.height);
  to.number(image.width);
  to.text(image.encoding);
  to.number(static_cast<std::uint8_t>(image.is_bigendian != 0 ? 1 : 0));
  to.number(image.step);
  write_numbers(to, tail, 1);
}

bool read_image(CdrReader& from, std::byte* head, Bytes& tail) {
  messages::Image image;
  Tail data;
  if (!read_header(from, image.header) || !read_number(from, "height", image.height) ||
      !read_number(from, "width", image.width))
    return false;
  if (!from.text(image.encoding.bytes, sizeof image.encoding.bytes)) return from.blame("encoding");
  if (!read_as<std::uint8_t>(from, "is_bigendian", image.is_bigendian) ||
      !read_number(from, "step", image.step) || !read_numbers<std::uint8_t>(from, "data", data))
    return false;
  std::memcpy(head, &image, sizeof image);
  tail.assign(data.begin(), data.end());
  return true;
}

// --- PointCloud: points of x, y, z, intensity here, points of any fields there ---------------------------------------------

using messages::CloudPoint;

constexpr std::array<std::string_view, 4> kPointFields{"x", "y", "z", "intensity"};
constexpr auto kFloat32 = static_cast<std::uint8_t>(messages::PointFieldType::float32);
constexpr std::size_t kMostPointFields = 256;

void write_cloud(CdrWriter& to, const std::byte* head, Tail tail) {
  const auto cloud = value_at<messages::PointCloud>(head);
  write_header(to, cloud.header);
  to.number(cloud.height);
  to.number(cloud.width);
  to.number(static_cast<std::uint32_t>(kPointFields.size()));
  for (std::size_t i = 0; i < kPointFields.size(); ++i) {
    to.text(kPointFields[i]);
    to.number(static_cast<std::uint32_t>(i * sizeof(float)));
    to.number(kFloat32);
    to.number(std::uint32_t{1});
  }
  to.number(std::uint8_t{0});
  to.number(static_cast<std::uint32_t>(sizeof(CloudPoint)));
  to.number(static_cast<std::uint32_t>(cloud.width * sizeof(CloudPoint)));
  write_numbers(to, tail, 1);
  to.number(static_cast<std::uint8_t>(cloud.is_dense != 0 ? 1 : 0));
}

// Where a value stands in a foreign point, and of which type it is; 0: nowhere.
struct PointPart {
  std::uint32_t offset = 0;
  std::uint8_t datatype = 0;
};

std::size_t bytes_of(std::uint8_t datatype) {
  constexpr std::array<std::size_t, 9> kBytes{0, 1, 1, 2, 2, 4, 4, 4, 8};
  return datatype < kBytes.size() ? kBytes[datatype] : 0;
}
float number_in(const std::byte* from, std::uint8_t datatype) {
  switch (datatype) {
    case 1: return value_at<std::int8_t>(from);
    case 2: return value_at<std::uint8_t>(from);
    case 3: return value_at<std::int16_t>(from);
    case 4: return value_at<std::uint16_t>(from);
    case 5: return static_cast<float>(value_at<std::int32_t>(from));
    case 6: return static_cast<float>(value_at<std::uint32_t>(from));
    case kFloat32: return value_at<float>(from);
    default: return static_cast<float>(value_at<double>(from));
  }
}

struct ForeignCloud {
  std::array<PointPart, kPointFields.size()> parts;
  std::uint32_t point_step = 0, row_step = 0;
  Tail data;
};

bool read_point_fields(CdrReader& from, ForeignCloud& cloud) {
  std::size_t count = 0;
  if (!from.length(count, 13)) return false;
  if (count > kMostPointFields) return from.fail("points of more than 256 fields");
  for (std::size_t i = 0; i < count; ++i) {
    std::string_view name;
    PointPart part;
    std::uint32_t values = 0;
    if (!from.text(name) || !from.number(part.offset) || !from.number(part.datatype) || !from.number(values))
      return false;
    const auto mine = std::find(kPointFields.begin(), kPointFields.end(), name);
    if (mine == kPointFields.end() || values == 0) continue;
    if (bytes_of(part.datatype) == 0) return from.fail("a field of an unknown type");
    cloud.parts[static_cast<std::size_t>(mine - kPointFields.begin())] = part;
  }
  for (std::size_t i = 0; i < 3; ++i)
    if (cloud.parts[i].datatype == 0) return from.fail("points without x, y or z");
  return true;
}

bool is_as_here(const ForeignCloud& cloud) {
  for (std::size_t i = 0; i < cloud.parts.size(); ++i)
    if (cloud.parts[i].offset != i * sizeof(float) || cloud.parts[i].datatype != kFloat32) return false;
  return cloud.point_step == sizeof(CloudPoint);
}

// Row by row; every point lies within the data.
bool read_points(CdrReader& from, const messages::PointCloud& head, const ForeignCloud& cloud, Bytes& tail) {
  for (const PointPart& part : cloud.parts)
    if (std::uint64_t{part.offset} + bytes_of(part.datatype) > cloud.point_step)
      return from.fail("a field behind the end of its point");
  const std::uint64_t row = std::uint64_t{head.width} * cloud.point_step;
  if (cloud.point_step == 0 || (head.height > 1 && cloud.row_step < row) ||
      (head.height > 0 && head.width > 0 &&
       (std::uint64_t{head.height} - 1) * cloud.row_step >
           cloud.data.size() - std::min<std::uint64_t>(row, cloud.data.size())) ||
      (head.height > 0 && row > cloud.data.size()))
    return from.fail("fewer bytes than height, width and steps ask for");
  if (head.height == 0 || head.width == 0) return true;
  const std::size_t points = std::size_t{head.height} * head.width;
  if (is_as_here(cloud) && (head.height == 1 || cloud.row_step == row)) {
    tail.assign(cloud.data.data(), cloud.data.data() + points * sizeof(CloudPoint));
    return true;
  }
  tail.reserve(points * sizeof(CloudPoint));
  for (std::uint32_t y = 0; y < head.height; ++y) {
    for (std::uint32_t x = 0; x < head.width; ++x) {
      const std::byte* point =
          cloud.data.data() + std::size_t{y} * cloud.row_step + std::size_t{x} * cloud.point_step;
      CloudPoint mine;
      mine.x = number_in(point + cloud.parts[0].offset, cloud.parts[0].datatype);
      mine.y = number_in(point + cloud.parts[1].offset, cloud.parts[1].datatype);
      mine.z = number_in(point + cloud.parts[2].offset, cloud.parts[2].datatype);
      if (cloud.parts[3].datatype != 0)
        mine.intensity = number_in(point + cloud.parts[3].offset, cloud.parts[3].datatype);
      append(tail, mine);
    }
  }
  return true;
}

bool read_cloud(CdrReader& from, std::byte* head, Bytes& tail) {
  messages::PointCloud mine;
  ForeignCloud cloud;
  std::uint8_t is_bigendian = 0;
  if (!read_header(from, mine.header) || !read_number(from, "height", mine.height) ||
      !read_number(from, "width", mine.width))
    return false;
  if (!read_point_fields(from, cloud)) return from.blame("fields");
  if (!read_number(from, "is_bigendian", is_bigendian) ||
      !read_number(from, "point_step", cloud.point_step) || !read_number(from, "row_step", cloud.row_step) ||
      !read_numbers<std::uint8_t>(from, "data", cloud.data) ||
      !read_as<std::uint8_t>(from, "is_dense", mine.is_dense))
    return false;
  if (is_bigendian != 0) return from.fail("points with the big end first"), from.blame("is_bigendian");
  if (!read_points(from, mine, cloud, tail)) return from.blame("data");
  std::memcpy(head, &mine, sizeof mine);
  return true;
}

constexpr std::array kReady{
    ReadyMessage{&describe<messages::JointState>, &describe<in_ros::JointState>, write_joints, read_joints},
    ReadyMessage{&describe<messages::LaserScan>, &describe<in_ros::LaserScan>, write_scan, read_scan},
    ReadyMessage{&describe<messages::NavSatFix>, &describe<in_ros::NavSatFix>, write_fix, read_fix},
    ReadyMessage{&describe<messages::Image>, &describe<in_ros::Image>, write_image, read_image},
    ReadyMessage{&describe<messages::PointCloud>, &describe<messages::PointCloud2>, write_cloud, read_cloud},
};

// First those that are the same in ROS where they are a field.
constexpr std::size_t kFields = 22;
const auto& all_ready() {
  static const std::array<const Description*, kFields + 17> all{
      &describe<messages::Header>(),
      &describe<messages::Point>(),
      &describe<messages::Vector3>(),
      &describe<messages::Quaternion>(),
      &describe<messages::Pose>(),
      &describe<messages::Twist>(),
      &describe<messages::PoseWithCovariance>(),
      &describe<messages::TwistWithCovariance>(),
      &describe<messages::Odometry>(),
      &describe<messages::Imu>(),
      &describe<messages::Temperature>(),
      &describe<messages::MagneticField>(),
      &describe<messages::Range>(),
      &describe<messages::PoseStamped>(),
      &describe<messages::TwistStamped>(),
      &describe<messages::Transform>(),
      &describe<messages::TransformStamped>(),
      &describe<messages::MapMetaData>(),
      &describe<messages::RegionOfInterest>(),
      &describe<messages::PointField>(),
      &describe<messages::KeyValue>(),
      &describe<messages::DiagnosticStatus>(),
      &describe<messages::JointState>(),
      &describe<messages::LaserScan>(),
      &describe<messages::BatteryState>(),
      &describe<messages::NavSatFix>(),
      &describe<messages::Image>(),
      &describe<messages::PointCloud>(),
      &describe<messages::Joy>(),
      &describe<messages::TFMessage>(),
      &describe<messages::Path>(),
      &describe<messages::OccupancyGrid>(),
      &describe<messages::CompressedImage>(),
      &describe<messages::CameraInfo>(),
      &describe<messages::PointCloud2>(),
      &describe<messages::DiagnosticArray>(),
      &describe<messages::Log>(),
      &describe<messages::Clock>(),
      &describe<std::string>(),
  };
  return all;
}

}  // namespace

std::span<const Description* const> ready_messages() { return all_ready(); }

bool fits_as_field(const Description& ready) {
  const auto fields = ready_messages().first(kFields);
  return std::find(fields.begin(), fields.end(), &ready) != fields.end();
}

const ReadyMessage* find_ready_message(const Description& description) {
  for (const ReadyMessage& ready : kReady) {
    const Description& mine = ready.described();
    if (mine.root().name == description.root().name && mine.layout().hash == description.layout().hash)
      return &ready;
  }
  return nullptr;
}

}  // namespace horus::HORUS_ABI::msg
