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

namespace horus::HORUS_ABI {
namespace {

using RosShape = RosDefinition::Shape;
using msg::short_ros_name;

void write_definition(std::string& text, const RosDefinition::Type& type) {
  const auto write = [&](const std::vector<RosDefinition::Constant>& constants) {
    for (const auto& constant : constants)
      text += fmt::format("{} {}={}\n", constant.type, constant.name, constant.value);
  };
  for (const RosDefinition::Field& field : type.fields) {
    write(field.constants);
    text += short_ros_name(field.type);
    if (field.text_bytes > 0) text += fmt::format("<={}", field.text_bytes);
    if (field.shape == RosShape::array) text += fmt::format("[{}]", field.count);
    if (field.shape == RosShape::sequence) text += "[]";
    if (field.shape == RosShape::bounded_sequence) text += fmt::format("[<={}]", field.count);
    text += " " + field.name;
    if (!field.preset.empty()) text += " " + field.preset;
    text += "\n";
  }
  write(type.constants);
}

// The text that REP 2016 hashes: JSON with one space behind each comma and colon. Names have nothing that JSON escapes.
constexpr int kBoundedText = 4;  // added to the number of `string` and `wstring`

// Added to the number of a type of one value.
int number_of(RosShape shape) {
  switch (shape) {
    case RosShape::one: break;
    case RosShape::array: return 48;
    case RosShape::bounded_sequence: return 96;
    case RosShape::sequence: return 144;
  }
  return 0;
}

void write_json(std::string& text, const RosDefinition::Type& type) {
  text += fmt::format(R"({{"type_name": "{}", "fields": [)", type.name);
  bool first = true;
  const auto write = [&](std::string_view name, int id, std::uint64_t count, std::uint32_t bytes,
                         std::string_view nested) {
    text += fmt::format(
        R"({}{{"name": "{}", "type": {{"type_id": {}, "capacity": {}, "string_capacity": {}, "nested_type_name": "{}"}}}})",
        first ? "" : ", ", name, id, count, bytes, nested);
    first = false;
  };
  for (const RosDefinition::Field& field : type.fields)
    write(field.name, field.id + (field.text_bytes > 0 ? kBoundedText : 0) + number_of(field.shape),
          field.count, field.text_bytes, field.id == msg::kNestedId ? std::string_view(field.type) : "");
  if (type.fields.empty()) write(msg::kNoFields, msg::ros_scalar_id("uint8"), 0, 0, "");
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

std::string ros2msg(const RosDefinition& definition) {
  std::string text;
  for (const RosDefinition::Type& type : definition.types) {
    if (&type != &definition.types.front())
      text += fmt::format("{}\nMSG: {}\n", std::string(80, '='), short_ros_name(type.name));
    write_definition(text, type);
  }
  return text;
}

std::string ros_type_hash(const RosDefinition& definition) {
  std::vector<const RosDefinition::Type*> others;
  for (std::size_t i = 1; i < definition.types.size(); ++i) others.push_back(&definition.types[i]);
  std::sort(others.begin(), others.end(), [](const auto* a, const auto* b) { return a->name < b->name; });
  std::string text = R"({"type_description": )";
  write_json(text, definition.root());
  text += R"(, "referenced_type_descriptions": [)";
  for (std::size_t i = 0; i < others.size(); ++i) {
    if (i > 0) text += ", ";
    write_json(text, *others[i]);
  }
  return "RIHS01_" + sha256(text + "]}");
}

std::string ros2msg(const Description& description) { return ros2msg(msg::ros_schema(description)); }

std::string ros_type_hash(const Description& description) {
  return ros_type_hash(msg::ros_schema(description));
}

}  // namespace horus::HORUS_ABI
