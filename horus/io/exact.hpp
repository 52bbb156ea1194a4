// SPDX-License-Identifier: Apache-2.0
// Exact recordings: what a program was told by the kernel, so that it can run again, step by step, under a debugger.
// `HORUS_RECORD_SEAM=run.seam ./rover` makes one, `HORUS_REPLAY_SEAM=run.seam ./rover` replays it (docs/replay.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::io {

/// What a recording says about its program. Plain data.
struct ExactRecording {
  std::string program;                 ///< its file
  std::string folder;                  ///< in which it ran
  std::vector<std::string> arguments;  ///< the first is its name
  std::string version;                 ///< of Horus
  std::string machine;                 ///< "x86_64"
  std::uint64_t bytes = 0;             ///< of events
  bool ended = false;                  ///< the program came to its end; else it was killed, or crashed
  bool full = false;                   ///< the recording reached its largest size first
};

/// Errors: those of open(2) and read(2); kBadInput when the file is no exact recording, or one of another format.
/// Thread safety: any thread; it waits for the disk.
HORUS_API Result<ExactRecording> describe_exact_recording(const std::string& path);

/// Replays it in this process: becomes the recorded program, in its folder and with its arguments, or `program` instead of its
/// file, behind the words of `under` ({"gdb", "--args"}). Where the folder is gone it stays in the present one, with a line in
/// the log. Returns only when that fails. Errors: those of describe_exact_recording() and execve(2).
HORUS_API Error replay_exactly(const std::string& path, const std::string& program = {},
                               std::vector<std::string> under = {});

}  // namespace horus::HORUS_ABI::io
