// SPDX-License-Identifier: Apache-2.0
// The end of a recording: the end mark of the data, the summary, the footer. Internal; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/records.hpp>

namespace horus::HORUS_ABI::bag {

/// The groups of a summary, each as its encoded records.
struct Summary {
  std::span<const std::byte> schemas = {};
  std::span<const std::byte> channels = {};
  std::span<const std::byte> chunk_indexes = {};
  std::span<const std::byte> attachment_indexes = {};
  std::span<const std::byte> metadata_indexes = {};
  const Statistics& statistics;
};

/// Appends to `out` what follows in the file at `position`, up to its last byte.
void encode_end(Buffer& out, std::uint64_t position, const Summary& summary);

}  // namespace horus::HORUS_ABI::bag
