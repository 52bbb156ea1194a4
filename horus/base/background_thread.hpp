// SPDX-License-Identifier: Apache-2.0
// Threads of the library that work beside a program and must not be noticed by it: the log's, the door's. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>

namespace horus::HORUS_ABI::detail {

/// Starts a detached thread as the program's first one was: on the processors that the program had at its start, without
/// anybody's real-time priority, with all signals blocked that no fault of its own raises. 0, or the errno of a refusal.
int start_background_thread(std::size_t stack_bytes, void* (*body)(void*), void* argument) noexcept;

}  // namespace horus::HORUS_ABI::detail
