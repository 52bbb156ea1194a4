// SPDX-License-Identifier: Apache-2.0
// The clock by which scopes hold lines of the log back: the kernel's, until a layer above knows a better one (a simulated
// world's). Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::detail {

using LogClock = std::int64_t (*)() noexcept;
HORUS_API void set_log_clock(LogClock clock) noexcept;

}  // namespace horus::HORUS_ABI::detail
