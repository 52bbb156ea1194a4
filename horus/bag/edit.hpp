// SPDX-License-Identifier: Apache-2.0
// Work on whole recordings: recovery after a crash, a part of one, several as one. One reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include <horus/bag/contents.hpp>
#include <horus/bag/reader.hpp>
#include <horus/bag/writer.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// What a recovery found.
struct Recovery {
  std::uint64_t messages = 0;
  std::uint64_t chunks = 0;
  std::uint64_t dropped_bytes = 0;  ///< behind the last whole record
  bool was_whole = false;           ///< the file had an index and no damage; in place nothing was changed
  std::vector<Damage> damages;      ///< what could not be read
  std::uint64_t more_damages = 0;
};

/// Copies everything that is whole into a new file with an index. Chunks are copied as they are, and checked.
/// Errors: those of Reader::open and FileWriter; on failure there is no new file.
[[nodiscard]] HORUS_API Task<Result<Recovery>> recover(std::string path, std::string to,
                                                       bool overwrite = false);
/// Drops the torn end of the file and writes its index there. Errors: EINVAL when something in the middle is damaged, or
/// messages lie outside of chunks: a copy is needed then.
[[nodiscard]] HORUS_API Task<Result<Recovery>> recover_in_place(std::string path);

/// What a copy took over.
struct Copied {
  std::uint64_t messages = 0;
  std::uint64_t channels = 0;
  std::vector<std::string> errors;  ///< of damaged chunks, which were left out; at most kMostDamages
  std::uint64_t more_errors = 0;
};

struct CopyOptions {
  CopyOptions() {}

  Selection selection;   ///< of messages; channels that are not selected are left out
  WriterOptions writer;  ///< the profile is that of the inputs when all have the same
  bool overwrite = false;
};

/// Writes the messages of one or several recordings into a new one, in the order of their log time (equal times: in the order
/// of `paths`). Channels that are equal in all become one. Attachments and metadata are copied.
/// Errors: those of Reader and FileWriter; on failure there is no new file.
[[nodiscard]] HORUS_API Task<Result<Copied>> copy(std::vector<std::string> paths, std::string to,
                                                  CopyOptions options);

}  // namespace horus::HORUS_ABI::bag
