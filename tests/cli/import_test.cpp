// SPDX-License-Identifier: Apache-2.0
// What `horus msg import` has written of the .msg files in import/ compiles, and is the same type for ROS.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/msg/cdr.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/publisher.hpp>
#include <horus/msg/ros.hpp>
#include <horus/msg/ros_definition.hpp>

#include "../support/random_message.hpp"
#include "drive.hpp"
#include "limits.hpp"

namespace {

using namespace horus;

std::string file(std::string_view type) {
  const std::size_t slash = type.find('/');
  const auto path = std::filesystem::path(HORUS_IMPORT_FOLDER) / type.substr(0, slash) / "msg" /
                    fmt::format("{}.msg", type.substr(type.rfind('/') + 1));
  std::ifstream stream(path);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}
RosDefinition definition(std::string_view type) {
  const auto find = [](std::string_view name) -> std::optional<std::string> {
    if (name == "std_msgs/msg/Header") return ros2msg(describe<messages::Header>());
    if (name == "geometry_msgs/msg/Pose") return ros2msg(describe<messages::Pose>());
    return name.starts_with("builtin_interfaces/") ? std::nullopt : std::optional(file(name));
  };
  return parse_ros2msg(type, file(type), find).or_throw();
}

// Both are the same bytes for ROS.
template <class T>
void check_cdr(const RosDefinition& type) {
  test::MessageMaker maker(3);
  for (int i = 0; i < 20; ++i) {
    const test::RandomMessage message = maker.make(describe<T>());
    std::vector<std::byte> bytes(cdr_of<T>().size(message.head, message.tail).or_throw());
    cdr_of<T>().write(message.head, message.tail, bytes).or_throw();
    const std::string own = to_json(describe<T>(), message.head, message.tail, JsonStyle::ros).or_throw();
    // A type without fields has one here, as in ROS' own structs.
    static const std::regex kNoFields(R"(\{"structure_needs_at_least_one_member":[0-9]+\})");
    CHECK(cdr_to_json(type, bytes).or_throw() == std::regex_replace(own, kNoFields, "{}"));
  }
}

}  // namespace

TEST_SUITE("cli/import") {
  TEST_CASE("a struct has the name, the hash and the bytes of its definition in ROS") {
    const RosDefinition type = definition("rover_msgs/msg/Drive");
    CHECK(ros_name(describe<rover_msgs::Drive>()) == "rover_msgs/msg/Drive");
    CHECK(ros_type_hash(describe<rover_msgs::Drive>()) == ros_type_hash(type));
    check_cdr<rover_msgs::Drive>(type);
  }

  TEST_CASE("its text is that of the file, but for presets and constants that are no enumeration") {
    RosDefinition type = definition("rover_msgs/msg/Drive");
    for (auto& one : type.types) {
      for (auto& field : one.fields) {
        if (one.name != "geometry_msgs/msg/Quaternion") field.preset.clear();  // Horus knows that one
        if (field.type == "char" && field.count == 8) field.type = "uint8";
        if (one.name == "other_msgs/msg/Tool") field.constants.clear();
      }
      if (one.name == "rover_msgs/msg/Wheel") one.constants.clear();
    }
    const auto lines = [](const std::string& text) {  // nested types come in another order
      std::multiset<std::string> made;
      std::size_t at = 0;
      while (at < text.size()) {
        const std::size_t end = text.find('\n', at);
        made.insert(text.substr(at, end - at));
        at = end + 1;
      }
      return made;
    };
    const std::string text = ros2msg(describe<rover_msgs::Drive>());
    CHECK(lines(text) == lines(ros2msg(type)));
    CHECK(text.substr(0, text.find('=' + std::string(9, '='))) ==
          ros2msg(type).substr(0, ros2msg(type).find('=' + std::string(9, '='))));
  }

  TEST_CASE("presets and constants are those of the file") {
    const rover_msgs::Drive drive;
    CHECK(drive.label == "none");
    CHECK(drive.speed == 1.5F);
    CHECK(drive.on);
    CHECK(drive.raw == std::byte{3});
    CHECK(drive.mode == rover_msgs::Drive::Mode::idle);
    CHECK(static_cast<int>(rover_msgs::Drive::Gain::_3d) == -3);
    CHECK(rover_msgs::Wheel::LABEL == "a \"b\"");
    CHECK(other_msgs::Tool::HAND == 2);
    using Limits = site::rover::Limits;
    CHECK(Limits::LEAST == INT64_MIN);
    CHECK(Limits::MOST == UINT64_MAX);
    CHECK(Limits::HALF == 0.5F);
    CHECK(Limits::HUGE == 1e300);
    CHECK(Limits::YES);
    CHECK(Limits::BYTE == std::byte{7});
    CHECK(Limits().state == -1);
    CHECK(Limits().both == std::array<std::int8_t, 2>{1, 2});
  }

  TEST_CASE("several lists without a bound have one here") {
    using Limits = site::rover::Limits;
    CHECK(Limits().first.capacity() == 5);
    CHECK(Limits().second.items[0].capacity() == 20);
    CHECK(Limits().few.capacity() == 3);
    check_cdr<Limits>(definition("rover_msgs/msg/Limits"));
  }
}
