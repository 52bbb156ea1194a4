// SPDX-License-Identifier: Apache-2.0
// Counters that one thread writes and any thread reads: no locked instruction. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstdint>

namespace horus::HORUS_ABI::detail {

/// Adds to a counter that no other thread writes.
inline void count(std::atomic<std::uint64_t>& counter, std::uint64_t change = 1) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_relaxed);
}

}  // namespace horus::HORUS_ABI::detail
