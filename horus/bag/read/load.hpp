// SPDX-License-Identifier: Apache-2.0
// Gets one chunk out of a file: read, checked, unpacked. Internal; the reader's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/format/codec.hpp>
#include <horus/bag/read/window.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// A chunk as it lies in the file.
struct RawChunk {
  ChunkHead head;
  std::span<const std::byte> packed;
};

/// The parts of a chunk record's content; nullptr, or what is wrong with it.
[[nodiscard]] const char* split_chunk(std::span<const std::byte> content, RawChunk& chunk);
/// Unpacks and checks; nullptr, or what is wrong with it. `out` has its records then.
[[nodiscard]] const char* unpack_chunk(const RawChunk& chunk, Buffer& out);

/// The records of a chunk that an index names. Errors: kBadInput; those of read(2).
[[nodiscard]] Task<Result<>> load(Window& window, const ChunkIndex& index, Buffer& out);

}  // namespace horus::HORUS_ABI::bag
