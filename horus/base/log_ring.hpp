// SPDX-License-Identifier: Apache-2.0
// A bounded ring of lines from any thread: nobody waits, and the oldest lines give way to new ones.
// The ring owns the text. It is constant-initialised and trivially destroyed: it works before main and after it.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace horus::HORUS_ABI::detail {

/// Lines of any length up to kLongest bytes, in `kSlots` slots of 128 bytes; a long line takes several in a row.
///
/// A slot's word says for which round of the ring it is free, or that a line of so many slots begins there. Whoever
/// finds no room takes the oldest line out and drops it (counted). A thread that is stopped between claiming slots and
/// filling (or emptying) them makes others lose their own line instead: they never wait for it.
///
/// Thread safety: all members from any thread, also in signal handlers, but for reset() (one thread alone).
template <std::size_t kSlots>
class LogRing {
  static_assert((kSlots & (kSlots - 1)) == 0);

 public:
  static constexpr std::size_t kLongest = std::min<std::size_t>(65536, kSlots * 16);

  /// False when the line was lost. `mark` comes back with it.
  bool push(std::uint8_t mark, std::string_view text) noexcept {
    text = text.substr(0, kLongest);
    const std::uint64_t units = (sizeof(Head) + text.size() + kRoom - 1) / kRoom;
    for (int tries = 0; tries < kMostTries; ++tries) {
      const std::uint64_t at = newest_.load(std::memory_order_acquire);
      switch (look(at, units)) {
        case Room::free: break;
        case Room::moved_on: continue;
        case Room::taken:
          // What is in the way has been taken out, but its slots are still being read: that passes, or it does not.
          if (at + units - kSlots > oldest_.load(std::memory_order_acquire)) drop_oldest();
          continue;
      }
      std::uint64_t expected = at;
      if (!newest_.compare_exchange_weak(expected, at + units, std::memory_order_seq_cst)) continue;
      const Head head{static_cast<std::uint32_t>(text.size()), mark};
      char first[kRoom];
      const std::size_t beside = std::min(text.size(), kRoom - sizeof head);
      std::memcpy(first, &head, sizeof head);
      if (beside > 0) text.copy(first + sizeof head, beside);
      std::memcpy(slot(at).text, first, sizeof head + beside);
      for (std::uint64_t unit = 1, from = beside; unit < units; ++unit, from += kRoom)
        text.copy(slot(at + unit).text, kRoom, from);
      slot(at).word.store(free_word(at) | units, std::memory_order_release);
      return true;
    }
    lost_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }

  /// Takes the oldest line out; false when there is none, or when its writer is not done with it.
  bool pop(std::uint8_t& mark, std::string& text) {
    std::uint64_t at;
    std::uint64_t units;
    do {
      at = oldest_.load(std::memory_order_acquire);
      units = filled(at);
      if (units == 0) return false;
    } while (!oldest_.compare_exchange_weak(at, at + units, std::memory_order_seq_cst));
    Head head;
    std::memcpy(&head, slot(at).text, sizeof head);
    mark = head.mark;
    const std::size_t beside = std::min<std::size_t>(head.length, kRoom - sizeof head);
    text.assign(slot(at).text + sizeof head, beside);
    for (std::uint64_t unit = 1; unit < units; ++unit)
      text.append(slot(at + unit).text, std::min<std::size_t>(kRoom, head.length - text.size()));
    release(at, units);
    return true;
  }

  /// Where the oldest line begins, and where the next one will. Positions only grow.
  [[nodiscard]] std::uint64_t oldest() const noexcept { return oldest_.load(std::memory_order_seq_cst); }
  [[nodiscard]] std::uint64_t newest() const noexcept { return newest_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool empty() const noexcept { return filled(oldest_.load(std::memory_order_acquire)) == 0; }
  /// Lines that gave way, since the start.
  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

  /// Empties it whatever other threads were at: for the child of a fork(), where they do not exist.
  void reset() noexcept {
    for (Slot& each : slots_) each.word.store(0, std::memory_order_relaxed);
    oldest_.store(0, std::memory_order_relaxed);
    newest_.store(0, std::memory_order_release);
  }

 private:
  static constexpr std::uint64_t kUnitBits = 16;
  static constexpr int kMostTries = 64;

  struct Head {
    std::uint32_t length;
    std::uint8_t mark;
  };
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> word{0};  // round << 16: free for that round; | units: a line begins here
    char text[120]{};
  };
  static constexpr std::size_t kRoom = sizeof(Slot::text);
  enum class Room { free, taken, moved_on };

  static constexpr std::uint64_t free_word(std::uint64_t position) noexcept {
    return (position / kSlots) << kUnitBits;
  }
  Slot& slot(std::uint64_t position) noexcept { return slots_[position % kSlots]; }
  const Slot& slot(std::uint64_t position) const noexcept { return slots_[position % kSlots]; }

  Room look(std::uint64_t at, std::uint64_t units) const noexcept {
    for (std::uint64_t position = at; position < at + units; ++position) {
      const std::uint64_t word = slot(position).word.load(std::memory_order_acquire);
      if (word == free_word(position)) continue;
      return word >> kUnitBits < free_word(position) >> kUnitBits ? Room::taken : Room::moved_on;
    }
    return Room::free;
  }
  std::uint64_t filled(std::uint64_t at) const noexcept {
    const std::uint64_t word = slot(at).word.load(std::memory_order_acquire);
    return word >> kUnitBits == free_word(at) >> kUnitBits ? word & ((1U << kUnitBits) - 1) : 0;
  }
  void drop_oldest() noexcept {
    std::uint64_t at = oldest_.load(std::memory_order_acquire);
    const std::uint64_t units = filled(at);
    if (units == 0 || !oldest_.compare_exchange_strong(at, at + units, std::memory_order_seq_cst)) return;
    release(at, units);
    lost_.fetch_add(1, std::memory_order_relaxed);
  }
  void release(std::uint64_t at, std::uint64_t units) noexcept {
    for (std::uint64_t position = at; position < at + units; ++position)
      slot(position).word.store(free_word(position + kSlots), std::memory_order_release);
  }

  alignas(64) std::atomic<std::uint64_t> newest_{0};
  alignas(64) std::atomic<std::uint64_t> oldest_{0};
  std::atomic<std::uint64_t> lost_{0};
  Slot slots_[kSlots];
};

}  // namespace horus::HORUS_ABI::detail
