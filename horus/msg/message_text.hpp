// SPDX-License-Identifier: Apache-2.0
// Messages as text that people read and write, from their description: a small part of YAML. Pure functions; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI {

/// A line for each field, `speed: 1.5`; nested structs are indented by two spaces, lists of them have `- ` before each, lists of
/// values stand in one line. Names and values are those of to_json, and YAML parsers read it, too.
/// Errors: EINVAL when a length is none that this type can have.
HORUS_API Result<std::string> to_text(const Description& description, std::span<const std::byte> head,
                                      std::span<const std::byte> tail = {});

/// The message that to_text wrote, or that a person did: fields that are left out are zero, `#` begins a comment, text needs
/// quotes only where it looks like something else. The limits are those of from_json.
/// Errors: kBadInput names the line, or the field, and what is wrong.
HORUS_API Result<> from_text(const Description& description, std::string_view text,
                             std::vector<std::byte>& head, std::vector<std::byte>& tail);

}  // namespace horus::HORUS_ABI
