// SPDX-License-Identifier: Apache-2.0
// What a topic's messages are in Python, and how they travel. Internal; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>

namespace horus::python {

/// What a topic's messages are in Python.
enum class Codec : std::uint8_t { data, bytes, text, raw };

/// How a topic travels.
struct Format {
  const Layout* layout;
  Codec codec;
  const Description* description = nullptr;  // null: not known

  /// The binary form of its description, from its class. Does nothing when that is known better, or is of something else.
  void learn(std::span<const std::byte> description_bytes);
};

/// MessagePack.
const Layout& layout_of_data();
/// Of a described class. Throws TypeError for one that is aligned to more than 64 bytes.
Format make_format(const std::string& name, const std::string& fields, std::uint32_t head_bytes,
                   std::uint32_t alignment, std::uint32_t element_bytes, std::uint32_t element_alignment);

}  // namespace horus::python
