// SPDX-License-Identifier: Apache-2.0
// Internal. How a scope waits for its tasks where it cannot co_await: in its destructor, while an exception passes it.
// The loop says how; this layer knows none. Any thread sets it, the scope's thread uses it.
#pragma once

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::detail {

/// Runs the thread's loop until `ended(what)` or its limit has come; true when it has ended.
using BlockingJoin = bool (*)(bool (*ended)(const void*) noexcept, const void* what) noexcept;
HORUS_API void set_blocking_join(BlockingJoin join) noexcept;

}  // namespace horus::HORUS_ABI::detail
