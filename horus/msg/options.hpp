// SPDX-License-Identifier: Apache-2.0
// What may be chosen about publishers and subscribers, and the bounds of everything. Plain values; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>

#include <horus/base/clock.hpp>

namespace horus {

/// What becomes of a message for which a subscriber's queue has no room. Each loss is counted on both ends.
enum class Overflow : std::uint8_t {
  drop_oldest,  ///< the oldest queued message gives way
  latest,       ///< a queue of one: only the newest message counts
  drop_newest,  ///< the new message is not queued, and `send` tells
};

/// Settings of a subscriber. `SubscribeOptions().with_depth(4).with_overflow(Overflow::drop_newest)`
struct SubscribeOptions {
  SubscribeOptions() {}
  static constexpr std::uint32_t kMaxDepth = 65536;

  std::uint32_t depth =
      16;  ///< messages queued for each publisher; 1 to kMaxDepth, and 1 with Overflow::latest
  Overflow overflow = Overflow::drop_oldest;
  std::uint32_t max_held = 8;  ///< samples of one publisher that may be held at a time; 1 to kMaxDepth
  /// What is queued, and what `latest()` remembers, outlasts an emergency stop and its publisher: maps, parameters. By
  /// default a node's subscriptions are empty when an emergency stop is reset, and `latest()` is while the publisher is
  /// muted, and after it has gone.
  bool keep_in_emergency = false;
  /// `latest()` gives nothing while its newest message is older than this: its publisher has died, is frozen or is silent.
  /// The next message brings it back. Above 0; without a value (the default) messages never go stale by age. The age is
  /// Sample::age(): of a message from another machine the time since it arrived. Nothing else looks at it: `recv()`,
  /// `try_recv()` and `has_msg()` give every message of the queue, however old, and Sample::age() tells.
  std::optional<Duration> stale_after;

  [[nodiscard]] SubscribeOptions with_depth(std::uint32_t messages) const {
    SubscribeOptions other = *this;
    other.depth = messages;
    return other;
  }
  [[nodiscard]] SubscribeOptions with_overflow(Overflow policy) const {
    SubscribeOptions other = *this;
    other.overflow = policy;
    return other;
  }
  [[nodiscard]] SubscribeOptions with_max_held(std::uint32_t samples) const {
    SubscribeOptions other = *this;
    other.max_held = samples;
    return other;
  }
  [[nodiscard]] SubscribeOptions with_keep_in_emergency(bool keep = true) const {
    SubscribeOptions other = *this;
    other.keep_in_emergency = keep;
    return other;
  }
  [[nodiscard]] SubscribeOptions with_stale_after(Duration age) const {
    SubscribeOptions other = *this;
    other.stale_after = age;
    return other;
  }
};

/// Settings of a publisher. `AdvertiseOptions().with_max_bytes(8 << 20)`
struct AdvertiseOptions {
  AdvertiseOptions() {}
  static constexpr std::size_t kDefaultMaxBytes = std::size_t{1} << 20;  // of a message with a tail
  static constexpr std::size_t kLargestMessage = std::size_t{64} << 20;
  static constexpr std::uint32_t kMaxQueued = 1U << 20;
  static constexpr std::uint32_t kMaxLoans = 1024;
  static constexpr std::uint32_t kMaxSlots = kMaxQueued + kMaxLoans + 1;

  std::size_t max_bytes =
      0;  ///< of one message, head and tail; 0: its size, or 1 MiB when it has a tail; ≤ 64 MiB
  std::uint32_t max_queued =
      1024;                     ///< messages that all subscribers together may queue and hold; 2 to 1 << 20
  std::uint32_t max_loans = 4;  ///< loans at a time; 1 to 1024

  [[nodiscard]] AdvertiseOptions with_max_bytes(std::size_t bytes) const {
    AdvertiseOptions other = *this;
    other.max_bytes = bytes;
    return other;
  }
  [[nodiscard]] AdvertiseOptions with_max_queued(std::uint32_t messages) const {
    AdvertiseOptions other = *this;
    other.max_queued = messages;
    return other;
  }
  [[nodiscard]] AdvertiseOptions with_max_loans(std::uint32_t loans) const {
    AdvertiseOptions other = *this;
    other.max_loans = loans;
    return other;
  }
};

}  // namespace horus
