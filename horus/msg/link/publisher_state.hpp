// SPDX-License-Identifier: Apache-2.0
// Whether a publisher's messages still count, as its subscribers see it: one word that other processes map read-only. Internal; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace horus::HORUS_ABI::msg {

/// From best to worst. A publisher that has gone says so in its links: LinkState::publisher_closed.
enum class PublisherState : std::uint8_t {
  live,
  muted,      ///< its node is isolated
  emergency,  ///< its node is held by an emergency stop
};

/// Why a publisher is mute. Each reason is set and lifted by itself.
enum class MuteReason : std::uint8_t { isolated = 1, emergency = 2 };

/// The word: a state, and how often it has changed. A sample that was taken under one value is stale under every other.
class PublisherWord {
 public:
  static constexpr std::size_t kBytes = 64;  // of memory that others see: a cache line of its own

  explicit PublisherWord(std::atomic<std::uint32_t>& word) noexcept : word_(word) {}

  [[nodiscard]] std::uint32_t value() const noexcept { return word_.load(std::memory_order_acquire); }
  [[nodiscard]] static bool is_live(std::uint32_t value) noexcept {
    return (value & kState) == static_cast<std::uint32_t>(PublisherState::live);
  }
  void set(PublisherState state) const noexcept {
    const auto wanted = static_cast<std::uint32_t>(state);
    std::uint32_t before = word_.load(std::memory_order_relaxed);
    while ((before & kState) != wanted &&
           !word_.compare_exchange_weak(before, ((before & ~kState) + kState + 1) | wanted,
                                        std::memory_order_acq_rel, std::memory_order_relaxed)) {
    }
  }

 private:
  static constexpr std::uint32_t kState = 3;
  std::atomic<std::uint32_t>& word_;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace horus::HORUS_ABI::msg
