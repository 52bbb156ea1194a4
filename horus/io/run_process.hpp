// SPDX-License-Identifier: Apache-2.0
// A whole child process in one call: feed it, collect what it says, learn how it ended. One thread.
#pragma once

#include <cstddef>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/process_options.hpp>
#include <horus/task/task.hpp>

namespace horus::io {

/// How a child ended and what it wrote.
struct ProcessOutput {
  explicit ProcessOutput(ExitStatus how) noexcept : status(how) {}
  ExitStatus status;
  std::string out;
  std::string err;
};

/// Bytes of standard output, and of standard error, that `run_process` keeps by default.
inline constexpr std::size_t kProcessOutputLimit = std::size_t{16} << 20;
/// How long `run_process` reads on when the child has ended but something it has started still holds its output.
inline constexpr Duration kOutputLinger = std::chrono::seconds(1);

/// Runs a program to its end: writes `input` to its standard input and closes that, collects standard output and
/// standard error (where the options say `inherit`; other redirects stay), and takes the exit status.
///
/// Semantics: a status other than 0 is no failure of the call (`status.expect_success(program)` makes it one). A child
/// that does not read its input, or closes it early, is no failure either. Stopping the task (`with_timeout`) kills the
/// child.
/// Errors: those of Process::spawn and wait; ENOBUFS when the child writes more than `output_limit` bytes to one of the
/// two (it is killed); ECANCELED.
/// Thread safety: a thread with a reactor.
/// Example: `auto version = co_await horus::io::run_process(horus::io::ProcessOptions("git", "--version"));`
HORUS_API Task<Result<ProcessOutput>> run_process(ProcessOptions options, std::string input = {},
                                                  std::size_t output_limit = kProcessOutputLimit);

}  // namespace horus::io
