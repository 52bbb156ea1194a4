// SPDX-License-Identifier: Apache-2.0
// Memory that a real-time run keeps resident, range by range: for a process that may not lock everything, since
// RLIMIT_MEMLOCK counts the size of mappings and not what is used of them. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstddef>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::detail {

HORUS_API extern std::atomic<bool> ranges_are_locked;

/// Whoever gets memory that is used in a run calls lock_range() then.
[[nodiscard]] inline bool locks_ranges() noexcept {
  return ranges_are_locked.load(std::memory_order_relaxed);
}
/// From now on, in the whole process.
inline void begin_to_lock_ranges() noexcept { ranges_are_locked.store(true, std::memory_order_relaxed); }

/// Keeps the pages of `bytes` from `begin` on in memory, and has them there at once; with `later` when they are first
/// touched. Gives how many bytes that was: 0 when the system refused it, of which one line in the log tells. Source:
/// mlock2(2).
HORUS_API std::size_t lock_range(const void* begin, std::size_t bytes, bool later = false) noexcept;

}  // namespace horus::HORUS_ABI::detail
