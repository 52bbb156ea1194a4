// SPDX-License-Identifier: Apache-2.0
// Keeps the memory that a real-time run uses from being paged out, or from being paged in late. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <string>

namespace horus::HORUS_ABI::detail {

/// What could be locked, in words.
struct MemoryLock {
  bool whole = false;   ///< everything that the process has touched or ever touches
  std::string refused;  ///< why not, for a person; empty when `whole`
};

/// Locks what is used, not what is merely reserved: pages count when they are touched (MCL_ONFAULT). A process that may not
/// lock without a limit locks ranges from now on: the stack of the calling thread, its coroutine frames, queues and slots of
/// messages as they are used; RLIMIT_MEMLOCK counts the size of mappings, and would refuse new ones. Calls prefault().
/// Source: mlockall(2), mlock2(2).
MemoryLock lock_memory();

/// Touches what the calling thread is going to need: half a megabyte of its stack, and frames of coroutines. Locks that
/// where ranges are locked.
void prefault() noexcept;

}  // namespace horus::HORUS_ABI::detail
