// SPDX-License-Identifier: Apache-2.0
// Walks through a whole recording without its index, as after a crash of the recorder: finds everything that is whole.
// Internal; the reader's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <functional>

#include <horus/bag/contents.hpp>
#include <horus/bag/format/buffer.hpp>
#include <horus/bag/read/load.hpp>
#include <horus/bag/source.hpp>

namespace horus::HORUS_ABI::bag {

/// What a scan shows on its way; everything lives only during the call.
struct Passing {
  const ChunkIndex* chunk = nullptr;        ///< a whole chunk, …
  const RawChunk* raw = nullptr;            ///< … as it lies in the file (nullptr when it is bare) …
  std::span<const std::byte> records = {};  ///< … and its records
  const Attachment* attachment = nullptr;
  const Metadata* metadata = nullptr;
};
/// Gives a failure to end the scan with it.
using OnPassing = std::function<Task<Result<>>(const Passing&)>;

/// Fills `contents` with all that is whole, and what is not in its `damages`. Errors: those of read(2); kBadInput where
/// there is no recording at all, or one beyond the limits. `summary`: what the index at the end says, where there is one:
/// schemas and channels that stand in a damaged chunk are known from it.
[[nodiscard]] Task<Result<>> scan(Source& source, Contents& contents, const OnPassing& on_passing,
                                  const Contents* summary = nullptr);

/// Goes through the records of a chunk: new schemas and channels are added to `contents`, each message goes to `on_message`
/// with its offset. Gives nullptr, or what is wrong.
[[nodiscard]] const char* walk_chunk(
    std::span<const std::byte> records, Contents& contents,
    const std::function<void(const Message&, std::uint64_t offset)>& on_message);

/// Magic and header. `end` is behind them.
[[nodiscard]] Task<Result<>> read_header(Window& window, Header& header, std::uint64_t& end);

}  // namespace horus::HORUS_ABI::bag
