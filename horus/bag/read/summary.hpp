// SPDX-License-Identifier: Apache-2.0
// Reads the index at the end of a recording. Internal; the reader's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <horus/bag/contents.hpp>
#include <horus/bag/source.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

inline constexpr std::size_t kMostSummary = std::size_t{512} << 20;  ///< bytes of an index

/// False when the file has no index that could be used: a note in `contents.damages` says why, unless it simply has none.
/// Errors: those of read(2); kBadInput when this is no recording.
[[nodiscard]] Task<Result<bool>> read_summary(Source& source, Contents& contents);

}  // namespace horus::HORUS_ABI::bag
