// SPDX-License-Identifier: Apache-2.0
// Who calls a node's enter_safe_state(): one word, moved by compare-and-swap alone, so that the loop, the helpers and the
// safety monitor agree without a lock. Internal; any thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstdint>

namespace horus::HORUS_ABI::detail {

/// The two calls of an episode (isolation, emergency stop, deadline miss) and how far each has come.
///
/// Semantics: `at_once` goes none → wanted → running → returned; `settled` may begin when `at_once` has returned. Each
/// happens once per episode, never two at a time: a call that is still running when its episode ends counts for the
/// next one too.
class HookClaim {
 public:
  /// Asks for the `at_once` call. True when nobody had asked in this episode.
  bool want() noexcept {
    return move([](std::uint32_t word) noexcept -> std::uint32_t {
      if ((word & kStale) != 0) return word & ~kStale;  // it runs still, or has just begun: that is this call
      return phase(word) == kNone ? word + kWanted : word;
    });
  }
  /// Takes what was asked for. True: the caller makes the call now, and says `returned()`.
  bool begin() noexcept {
    return move([](std::uint32_t word) noexcept {
      return phase(word) == kWanted && (word & kSettling) == 0 ? word + (kRunning - kWanted) : word;
    });
  }
  void returned() noexcept {
    move([](std::uint32_t word) noexcept {
      if ((word & kStale) != 0) return (word & ~kStale & ~kPhase) + kEpisode;
      return (word & ~kPhase) | kReturned;
    });
  }
  /// True: the caller makes the second call now, and says `settled()`. False while `at_once` has not returned.
  bool begin_settled() noexcept {
    return move([](std::uint32_t word) noexcept {
      return phase(word) == kReturned && (word & (kSettling | kSettled)) == 0 ? word | kSettling : word;
    });
  }
  void settled() noexcept {
    move([](std::uint32_t word) noexcept { return (word & ~kSettling) | kSettled; });
  }
  /// The node is well again, or the emergency stop was reset: what comes next is an episode of its own.
  void end_episode() noexcept {
    if (word_.load(std::memory_order_relaxed) % kEpisode == kNone) return;
    move([](std::uint32_t word) noexcept {
      if ((word & kSettling) != 0) return word;  // the loop is in it, and the loop ends episodes
      if (phase(word) == kRunning) return word | kStale;
      return (word - word % kEpisode) + kEpisode;
    });
  }
  [[nodiscard]] bool wanted() const noexcept {
    return phase(word_.load(std::memory_order_acquire)) == kWanted;
  }
  [[nodiscard]] bool running() const noexcept {
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    return phase(word) == kRunning || (word & kSettling) != 0;
  }
  /// Asked for in this episode, whether or not it has begun.
  [[nodiscard]] bool in_episode() const noexcept {
    const std::uint32_t word = word_.load(std::memory_order_acquire);
    return phase(word) != kNone && (word & kStale) == 0;
  }
  [[nodiscard]] std::uint32_t episode() const noexcept {
    return word_.load(std::memory_order_acquire) / kEpisode;
  }

  // For a journal: as a number.
  [[nodiscard]] std::uint32_t word() const noexcept { return word_.load(std::memory_order_acquire); }
  void set_word(std::uint32_t word) noexcept { word_.store(word, std::memory_order_release); }
  /// The `at_once` call that `then` knows of has not begun here.
  [[nodiscard]] bool misses_call_of(std::uint32_t then) const noexcept {
    const auto called = [](std::uint32_t word) noexcept { return phase(word) >= kRunning; };
    const std::uint32_t own = word();
    return called(then) && (!called(own) || own / kEpisode != then / kEpisode);
  }

 private:
  static constexpr std::uint32_t kNone = 0, kWanted = 1, kRunning = 2, kReturned = 3, kPhase = 3;
  static constexpr std::uint32_t kSettling = 4, kSettled = 8;
  static constexpr std::uint32_t kStale = 16;  // the episode of the call that runs is over
  static constexpr std::uint32_t kEpisode = 32;

  static std::uint32_t phase(std::uint32_t word) noexcept { return word & kPhase; }
  // True when `change` gave another word.
  template <class F>
  bool move(F change) noexcept {
    std::uint32_t before = word_.load(std::memory_order_acquire);
    while (true) {
      const std::uint32_t after = change(before);
      if (after == before) return false;
      if (word_.compare_exchange_weak(before, after, std::memory_order_acq_rel, std::memory_order_acquire))
        return true;
    }
  }

  std::atomic<std::uint32_t> word_{kNone};
};

}  // namespace horus::HORUS_ABI::detail
