// SPDX-License-Identifier: Apache-2.0
// The definition of a ROS message that may come from anybody, and behind a zero byte a message of that type in CDR. What is
// accepted is written and reads as the same again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include <horus/msg/json.hpp>
#include <horus/msg/ros_definition.hpp>

#include <nlohmann/json.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace horus;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), size);
  const auto definition = parse_ros2msg("fuzz_msgs/msg/Message", input.substr(0, end));
  if (!definition) return 0;
  const std::string written = ros2msg(*definition);
  if (written.size() <= RosDefinition::kMostText) {
    const auto again = parse_ros2msg("fuzz_msgs/msg/Message", written);
    if (!again || *again != *definition || ros2msg(*again) != written) std::abort();
  }
  if (ros_type_hash(*definition).size() != 71) std::abort();
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto json = cdr_to_json(*definition, bytes.subspan(std::min(end + 1, size)));
  if (json && !nlohmann::json::accept(*json)) std::abort();
  return 0;
}
