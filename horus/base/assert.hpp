// SPDX-License-Identifier: Apache-2.0
// Assertions that stand in production: a broken invariant ends the program with one line, not with corrupt data.
#pragma once

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::detail {
[[noreturn]] HORUS_API void assertion_failed(const char* condition, const char* message, const char* file,
                                             int line) noexcept;
}  // namespace horus::HORUS_ABI::detail

/// Ends the program through abort() when `condition` is false; `message` (a C string) says what was violated.
#define HORUS_ASSERT(condition, message)                                            \
  do {                                                                              \
    if (!(condition)) [[unlikely]]                                                  \
      ::horus::detail::assertion_failed(#condition, (message), __FILE__, __LINE__); \
  } while (false)
