// SPDX-License-Identifier: Apache-2.0
// The .msg text of a message, and the hash of its types.
#include <horus/msg/ros.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include <sha2.h>  // libmd

#include <fmt/format.h>

#include <horus/msg/codec/ros_schema.hpp>

namespace horus {
namespace {

using msg::RosField;
using msg::RosType;
using Shape = Description::Shape;

// Without the "/msg" in the middle: "geometry_msgs/Pose".
std::string short_name(std::string_view name) {
  constexpr std::string_view kMiddle = "/msg/";
  std::string made(name);
  if (const std::size_t at = made.find(kMiddle); at != std::string::npos)
    made.replace(at, kMiddle.size(), "/");
  return made;
}

void write_definition(std::string& text, const RosType& type) {
  for (const RosField& field : type.fields) {
    for (const std::string& constant : field.constants) text += constant + "\n";
    text += short_name(field.type);
    if (field.shape == Shape::array) text += fmt::format("[{}]", field.count);
    if (field.shape == Shape::sequence) text += "[]";
    text += " " + field.name;
    if (!field.preset.empty()) text += " " + field.preset;
    text += "\n";
  }
}

// The text that REP 2016 hashes: JSON with one space behind each comma and colon. Names have nothing that JSON escapes.
constexpr std::uint8_t kArray = 48;      // added to the number of a type of one value
constexpr std::uint8_t kSequence = 144;  // without a bound

void write_json(std::string& text, const RosType& type) {
  text += fmt::format(R"({{"type_name": "{}", "fields": [)", type.name);
  bool first = true;
  for (const RosField& field : type.fields) {
    const int id = field.id + (field.shape == Shape::array      ? kArray
                               : field.shape == Shape::sequence ? kSequence
                                                                : 0);
    text += fmt::format(
        R"({}{{"name": "{}", "type": {{"type_id": {}, "capacity": {}, "string_capacity": 0, "nested_type_name": "{}"}}}})",
        first ? "" : ", ", field.name, id, field.shape == Shape::array ? field.count : 0,
        field.id == 1 ? field.type : "");
    first = false;
  }
  text += "]}";
}

std::string sha256(std::string_view text) {
  SHA2_CTX context;
  SHA256Init(&context);
  SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> digest{};
  SHA256Final(digest.data(), &context);
  std::string made;
  for (const std::uint8_t byte : digest) made += fmt::format("{:02x}", byte);
  return made;
}

}  // namespace

std::string ros2msg(const Description& description) {
  const std::vector<RosType> types = msg::ros_schema(description);
  std::string text;
  for (const RosType& type : types) {
    if (&type != &types.front())
      text += fmt::format("{}\nMSG: {}\n", std::string(80, '='), short_name(type.name));
    write_definition(text, type);
  }
  return text;
}

std::string ros_type_hash(const Description& description) {
  std::vector<RosType> types = msg::ros_schema(description);
  std::sort(types.begin() + 1, types.end(),
            [](const RosType& a, const RosType& b) { return a.name < b.name; });
  std::string text = R"({"type_description": )";
  write_json(text, types.front());
  text += R"(, "referenced_type_descriptions": [)";
  for (std::size_t i = 1; i < types.size(); ++i) {
    if (i > 1) text += ", ";
    write_json(text, types[i]);
  }
  return "RIHS01_" + sha256(text + "]}");
}

}  // namespace horus
