// SPDX-License-Identifier: Apache-2.0
// The blocking part of starting a child: from options to a pid. Any thread.
#pragma once

#include <array>

#include <sys/types.h>

#include <horus/base/result.hpp>
#include <horus/io/process_options.hpp>

namespace horus::io::detail {

/// Descriptors that become the child's 0, 1 and 2; -1: as the options' Redirect says. All are above 2, so that no
/// copy overwrites the source of another.
using StandardDescriptors = std::array<int, 3>;

/// Checks what the kernel would misread: no program, zero bytes, names of variables.
Result<> check(const ProcessOptions& options);
/// Starts the child. Returns when its program runs or could not be run. Error(errno, "spawn", program).
Result<pid_t> spawn_child(const ProcessOptions& options, const StandardDescriptors& descriptors);

}  // namespace horus::io::detail
