// SPDX-License-Identifier: Apache-2.0
// A whole child process in one call: feed it, collect its output, get its exit status. One thread.
#pragma once

#include <cstddef>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/process_options.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// How a child ended and what it wrote.
struct ProcessOutput {
  explicit ProcessOutput(ExitStatus how) noexcept : status(how) {}
  ExitStatus status;
  std::string out;
  std::string err;
};

/// The default limit for standard output and for standard error, in bytes.
inline constexpr std::size_t kProcessOutputLimit = std::size_t{16} << 20;
/// How long `run_process` continues to read when the child has ended but one of its own children still holds its
/// output.
inline constexpr Duration kOutputLinger = std::chrono::seconds(1);

/// Runs a program to its end: writes `input` to its standard input and closes it, collects standard output and
/// standard error (when the options say `inherit`; other redirects stay), and collects the exit status.
///
/// Semantics: a status other than 0 is no failure of the call (`status.expect_success(program)` makes it one). Nor is
/// a child that does not read its input or closes it early. Stopping the task (`with_timeout`) kills the child.
/// Errors: those of Process::spawn and wait; ENOBUFS when the child writes more than `output_limit` bytes to one of the
/// two (it is killed); ECANCELED.
/// Thread safety: a thread with a reactor.
/// Example: `auto version = co_await horus::io::run_process(horus::io::ProcessOptions("git", "--version"));`
HORUS_API Task<Result<ProcessOutput>> run_process(ProcessOptions options, std::string input = {},
                                                  std::size_t output_limit = kProcessOutputLimit);

}  // namespace horus::HORUS_ABI::io
