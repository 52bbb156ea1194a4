// SPDX-License-Identifier: Apache-2.0
// How an error that nobody catches is reported. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>

namespace horus::HORUS_ABI::detail {

/// Schedulers that run in this process: while there is one, an uncaught error is a crash and no mistake at the start.
extern std::atomic<int> running_schedulers;

/// From now on a horus::Error that leaves `main` is one line, `horus error: …`, and exit code 1, instead of "terminate
/// called" and a core dump; on other threads and while a scheduler runs it is that line and abort(). Other exceptions are left to the handler that was there before, and a handler that the program sets wins. Done when the library is
/// loaded.
bool report_uncaught_errors() noexcept;

}  // namespace horus::HORUS_ABI::detail
