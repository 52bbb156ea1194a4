// SPDX-License-Identifier: Apache-2.0
// Descriptors of a program that was started without 0, 1 or 2. Any thread.
#pragma once

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

namespace detail {
HORUS_API int move_above_standard(int fd) noexcept;
}  // namespace detail

/// A fresh descriptor, on a number above standard input, output and error: whatever prints, reads or inherits those must
/// not meet it. Moved ones are closed at exec. Passes -1 and negative errors on; -1 with errno when there is no number.
///
/// Only for descriptors that nothing refers to yet.
inline int above_standard(int fd) noexcept { return fd < 0 || fd > 2 ? fd : detail::move_above_standard(fd); }

}  // namespace horus::HORUS_ABI
