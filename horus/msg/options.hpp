// SPDX-License-Identifier: Apache-2.0
// Options of publishers and subscribers, and the limits of both. Plain values; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI {

/// What happens to a message when a subscriber's queue is full. Each loss is counted on both ends.
enum class Overflow : std::uint8_t {
  drop_oldest,  ///< the oldest queued message is dropped
  latest,       ///< a queue of one: only the newest message counts
  drop_newest,  ///< the new message is not queued, and `send` returns false
};

/// Settings of a subscriber. `SubscribeOptions().with_depth(4).with_overflow(Overflow::drop_newest)`
struct SubscribeOptions {
  SubscribeOptions() {}
  static constexpr std::uint32_t kMaxDepth = 65536;

  /// Messages queued for each publisher; 1 to kMaxDepth, and 1 with Overflow::latest.
  std::uint32_t depth = 16;
  Overflow overflow = Overflow::drop_oldest;
  /// How many samples of one publisher may be held at a time; 1 to kMaxDepth.
  std::uint32_t max_held = 8;
  /// Queued messages, and the one that `latest()` remembers, survive an emergency stop and the end of their
  /// publisher: for maps and parameters. By default resetting an emergency stop empties a node's subscriptions, and
  /// `latest()` is empty while the publisher is muted and after it has gone.
  bool keep_in_emergency = false;
  /// `latest()` is empty while its newest message is older than this, because its publisher has died, is frozen or is
  /// silent. The next message brings it back. Above 0; without a value (the default) messages never become stale. The
  /// age is Sample::age(); for a message from another machine it is the time since it arrived. Only `latest()` uses
  /// this limit: `recv()`, `try_recv()` and `has_msg()` give every queued message whatever its age, which
  /// Sample::age() tells.
  std::optional<Duration> stale_after;

  SubscribeOptions& with_depth(std::uint32_t messages) & { return depth = messages, *this; }
  SubscribeOptions& with_overflow(Overflow policy) & { return overflow = policy, *this; }
  SubscribeOptions& with_max_held(std::uint32_t samples) & { return max_held = samples, *this; }
  SubscribeOptions& with_keep_in_emergency(bool keep = true) & { return keep_in_emergency = keep, *this; }
  SubscribeOptions& with_stale_after(Duration age) & { return stale_after = age, *this; }
  [[nodiscard]] SubscribeOptions with_depth(std::uint32_t messages) && {
    return std::move(with_depth(messages));
  }
  [[nodiscard]] SubscribeOptions with_overflow(Overflow policy) && {
    return std::move(with_overflow(policy));
  }
  [[nodiscard]] SubscribeOptions with_max_held(std::uint32_t samples) && {
    return std::move(with_max_held(samples));
  }
  [[nodiscard]] SubscribeOptions with_keep_in_emergency(bool keep = true) && {
    return std::move(with_keep_in_emergency(keep));
  }
  [[nodiscard]] SubscribeOptions with_stale_after(Duration age) && {
    return std::move(with_stale_after(age));
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

  /// The limit for one message, head and tail, in bytes; 0: its size, or 1 MiB when it has a tail; ≤ 64 MiB.
  std::size_t max_bytes = 0;
  /// How many messages all subscribers together may queue and hold; 2 to 1 << 20.
  std::uint32_t max_queued = 1024;
  /// How many loans may be out at a time; 1 to 1024.
  std::uint32_t max_loans = 4;

  AdvertiseOptions& with_max_bytes(std::size_t bytes) & { return max_bytes = bytes, *this; }
  AdvertiseOptions& with_max_queued(std::uint32_t messages) & { return max_queued = messages, *this; }
  AdvertiseOptions& with_max_loans(std::uint32_t loans) & { return max_loans = loans, *this; }
  [[nodiscard]] AdvertiseOptions with_max_bytes(std::size_t bytes) && {
    return std::move(with_max_bytes(bytes));
  }
  [[nodiscard]] AdvertiseOptions with_max_queued(std::uint32_t messages) && {
    return std::move(with_max_queued(messages));
  }
  [[nodiscard]] AdvertiseOptions with_max_loans(std::uint32_t loans) && {
    return std::move(with_max_loans(loans));
  }
};

}  // namespace horus::HORUS_ABI
