// SPDX-License-Identifier: Apache-2.0
// Messages as JSON (RFC 8259), from their description: for browsers, scripts and people. Pure functions; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/ros_definition.hpp>

namespace horus::HORUS_ABI {

/// Whose names and values JSON has.
enum class JsonStyle : std::uint8_t {
  horus,  ///< the struct's field names; a time is its nanoseconds, an enumeration its constant's name
  ros,    ///< ROS' field names; a time is {"sec", "nanosec"}, an enumeration its number. Written, not read
};

/// One line of JSON. `head` is the struct (empty for a message that is all tail), `tail` what stands behind it.
///
/// The tail is a list among the other fields, where the message says; a tail of characters is text. Numbers have as many
/// digits as are needed to read the same again; those that JSON does not have are "nan", "inf" and "-inf". Undescribed bytes are
/// text of hexadecimal digits. Bytes of a text that are no UTF-8 become U+FFFD.
/// Errors: EINVAL when a length is none that this type can have.
HORUS_API Result<std::string> to_json(const Description& description, std::span<const std::byte> head,
                                      std::span<const std::byte> tail = {},
                                      JsonStyle style = JsonStyle::horus);

inline constexpr std::size_t kMostJson = std::size_t{64} << 20;  ///< bytes of text that `from_json` reads
inline constexpr std::size_t kMostJsonDepth = 64;                ///< lists and objects within each other

/// The message that to_json wrote (JsonStyle::horus), or that a person did: fields that are left out are zero; an
/// enumeration may be its number.
/// Errors: kBadInput says where and what: a field that the message does not have, text or a list that is longer than there is
/// room for, a number that the field cannot hold, another kind of value.
HORUS_API Result<> from_json(const Description& description, std::string_view json,
                             std::vector<std::byte>& head, std::vector<std::byte>& tail);

/// One line of JSON of a message in CDR that may come from anybody, of a type that this program was not compiled with: field by
/// field as JsonStyle::ros, with a list of numbers for bytes. XCDR1 and plain XCDR2 are read, either end first.
/// Errors: kBadInput names the type, the byte, the field (`poses[3].position.x`) and the reason: it ends too early, it has
/// another encoding, its JSON would be longer than kMostWrittenJson, it has a `wstring`, whose bytes ROS does not fix.
/// Source: https://www.omg.org/spec/DDS-XTYPES/1.3 (7.4)
HORUS_API Result<std::string> cdr_to_json(const RosDefinition& definition, std::span<const std::byte> cdr);

inline constexpr std::size_t kMostWrittenJson = std::size_t{256}
                                                << 20;  ///< bytes of text that `cdr_to_json` writes

/// The name of the Layout of messages that are MessagePack: what Python's hubs send without a type.
inline constexpr std::string_view kDataLayout = "data (MessagePack)";

/// One line of JSON, an object: a value of another kind is its member "value". Bytes are text of hexadecimal digits; numbers that
/// JSON does not have are null. An object that has the member "value" alone has a space before it, which tells the two apart.
/// Errors: kBadInput when it is no MessagePack.
/// Source: https://msgpack.org
HORUS_API Result<std::string> message_pack_to_json(std::span<const std::byte> data);

/// The way back: MessagePack of what message_pack_to_json wrote, or of any JSON. Bytes stay text, and null stays nothing.
/// Errors: kBadInput says where it is no JSON, or what exceeds a limit.
HORUS_API Result<std::vector<std::byte>> json_to_message_pack(std::string_view json);

}  // namespace horus::HORUS_ABI
