// SPDX-License-Identifier: Apache-2.0
// What a publisher and one of its subscribers share: a queue of slot numbers, and a queue of those that come back. Lives
// in ordinary memory, or in a segment that two processes map. One thread writes as publisher, one as subscriber. Internal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <horus/msg/slot_pool.hpp>

namespace horus::msg {

/// One queued message. `stamp_ns` is CLOCK_MONOTONIC at the publisher for every so manieth message, else 0.
struct Entry {
  std::uint32_t slot = 0;
  std::uint32_t tail_bytes = 0;
  std::int64_t stamp_ns = 0;
};

/// The counters that both sides see. They only grow; an entry's place is its number modulo the capacity. What changes with
/// every message has a cache line for each writer; what the other side looks at with every message, and which hardly ever
/// changes, stands apart from it: a line that the other CPU has just written costs as much as sending a message.
struct LinkState {
  alignas(128) std::atomic<std::uint64_t> pushed;  // the publisher's
  std::atomic<std::uint64_t> overwritten;          // oldest messages that gave way
  std::atomic<std::uint64_t> refused;              // new messages that found no room
  alignas(128)
      std::atomic<std::uint64_t> taken;  // the subscriber's; the publisher moves it past an overwritten entry
  alignas(128) std::atomic<std::uint64_t> returned;           // the subscriber's
  alignas(128) std::atomic<std::uint32_t> subscriber_asleep;  // wants to be woken for the next message
  std::atomic<std::uint32_t> subscriber_closed;  // 1: takes no more; 2: and holds no sample either
  std::atomic<std::uint32_t>
      subscriber_polls;  // looks all the time; makes a far barrier before it does not any more
  alignas(128) std::atomic<std::uint32_t> publisher_waits;  // wants to be woken for the next free place
  std::atomic<std::uint32_t> publisher_closed;              // 1: sends no more; 2: died
  std::atomic<std::uint32_t> publisher_admits;              // far barriers
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

/// Pointers into the memory of one link.
struct LinkMemory {
  LinkState* state = nullptr;
  std::atomic<std::uint64_t>* entries = nullptr;  // two words for each of `capacity`
  std::atomic<std::uint32_t>* returns = nullptr;  // `return_capacity`
  std::uint32_t capacity = 0;                     // a power of two
  std::uint32_t return_capacity = 0;              // a power of two, at least the slots of the pool
  std::uint32_t depth = 0;                        // entries in use, at most the capacity
  std::shared_ptr<Mapping> memory;

  [[nodiscard]] static std::size_t bytes_for(std::uint32_t depth, std::uint32_t slots) noexcept;
  /// Lays a link out over memory of at least bytes_for() that is all zeros, or that a peer laid out the same way.
  static LinkMemory over(std::shared_ptr<Mapping> memory, std::uint32_t depth, std::uint32_t slots) noexcept;

  void store(std::uint64_t number, const Entry& entry) const noexcept {
    std::atomic<std::uint64_t>* words = entries + 2 * (number & (capacity - 1));
    words[0].store(entry.slot | std::uint64_t{entry.tail_bytes} << 32, std::memory_order_relaxed);
    words[1].store(static_cast<std::uint64_t>(entry.stamp_ns), std::memory_order_relaxed);
  }
  [[nodiscard]] Entry load(std::uint64_t number) const noexcept {
    const std::atomic<std::uint64_t>* words = entries + 2 * (number & (capacity - 1));
    const std::uint64_t first = words[0].load(std::memory_order_relaxed);
    Entry entry;
    entry.slot = static_cast<std::uint32_t>(first);
    entry.tail_bytes = static_cast<std::uint32_t>(first >> 32);
    entry.stamp_ns = static_cast<std::int64_t>(words[1].load(std::memory_order_relaxed));
    return entry;
  }
};

}  // namespace horus::msg
