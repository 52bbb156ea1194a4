// SPDX-License-Identifier: Apache-2.0
// What a publisher and one of its subscribers share: a ring of entries, and a queue of slots that come back. Lives in
// ordinary memory, or in a segment that two processes map. One thread writes as publisher, one as subscriber. Internal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <horus/msg/layout.hpp>
#include <horus/msg/link/link_protocol.hpp>
#include <horus/msg/link/mapping.hpp>
#include <horus/msg/options.hpp>

namespace horus::HORUS_ABI::msg {

/// The words that both sides see. Counters only grow. What changes with every message has a cache line for each writer;
/// what the other side looks at with every message, and which hardly ever changes, stands apart from it: a line that the
/// other CPU has just written costs as much as sending a message.
struct LinkState {
  alignas(128) std::atomic<std::uint64_t> pushed;  // the publisher's
  std::atomic<std::uint64_t> refused;              // new messages that found no room
  alignas(128) std::atomic<std::uint64_t> taken;   // the subscriber's; see LinkReader
  std::atomic<std::uint64_t> dropped;
  std::atomic<std::uint64_t> until;
  std::atomic<std::uint64_t> returned;                        // slots
  alignas(128) std::atomic<std::uint32_t> subscriber_asleep;  // wants to be woken for the next message
  std::atomic<std::uint32_t> subscriber_closed;               // 1: takes no more; 2: and holds no slot either
  std::atomic<std::uint32_t>
      subscriber_polls;  // looks all the time; makes a far barrier before it does not any more
  std::atomic<std::uint32_t> subscriber_admits;  // far barriers
  std::atomic<std::uint32_t>
      claimed;  // another process's: 1: by the subscriber; 2: by the publisher, whose session ended
  alignas(128) std::atomic<std::uint32_t> publisher_waits;  // wants to be woken for the next free place
  std::atomic<std::uint32_t> publisher_closed;              // 1: sends no more; 2: died
  std::atomic<std::uint32_t> publisher_admits;              // far barriers
  std::atomic<std::uint32_t> publisher_fences;  // makes a far barrier between asking for room and its look
};
static_assert(sizeof(LinkState) % 128 == 0);

/// What both sides must know alike to read the same memory.
struct LinkShape {
  /// Of a subscriber with these options to a publisher of `slots` slots.
  [[nodiscard]] static LinkShape of(const Layout& layout, std::uint32_t depth, Overflow overflow,
                                    std::uint32_t slots) noexcept;
  [[nodiscard]] std::size_t bytes() const noexcept;

  std::uint32_t depth = 0;         ///< messages that wait at most
  bool drops_oldest = false;       ///< the publisher may overtake the subscriber
  std::uint32_t inline_bytes = 0;  ///< of a message that travels in its entry; 0: in a slot
  std::uint32_t slots = 0;         ///< of the publisher; 0 with inline_bytes
};

/// Pointers into the memory of one link.
struct LinkMemory {
  LinkState* state = nullptr;
  LinkShape shape;
  LinkWords<RealAtomics> words;
  std::atomic<std::uint32_t>* returns = nullptr;  // `return_capacity`
  std::uint32_t return_capacity = 0;  // a power of two, at least the slots of the pool; 0 without slots
  std::shared_ptr<Mapping> memory;

  /// Lays a link out over memory of at least shape.bytes() behind `offset`, a multiple of 256, that is all zeros, or that
  /// a peer laid out the same way.
  static LinkMemory over(std::shared_ptr<Mapping> memory, const LinkShape& shape,
                         std::size_t offset = 0) noexcept;
};

}  // namespace horus::HORUS_ABI::msg
