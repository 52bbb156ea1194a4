// SPDX-License-Identifier: Apache-2.0
// The timers of one reactor: a hierarchical wheel for what is far, a pairing heap for what is near; exact
// order. Only the reactor's own thread may call it. Entries belong to whoever waits; the queue only links
// them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <horus/base/assert.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// One pending deadline, embedded in whatever waits for it. It must stay where it is while it is pending, and
/// be cancelled before it dies.
class TimerEntry {
 public:
  TimerEntry() noexcept = default;
  TimerEntry(const TimerEntry&) = delete;
  TimerEntry& operator=(const TimerEntry&) = delete;
  ~TimerEntry() {
    HORUS_ASSERT(!pending(),
                 "a timer died while its reactor still counted on it (was a suspended task destroyed?)");
  }

  /// True from insert() until cancel(), or until pop_due() returned this entry.
  bool pending() const noexcept { return place_ != kIdle; }

  /// CLOCK_MONOTONIC nanoseconds, as given to the last insert(). Leave it alone while the entry is pending.
  int64_t deadline_ns = 0;

 private:
  friend class TimerQueue;
  static constexpr uint16_t kIdle = 0xffff;
  static constexpr uint16_t kNear = 0xfffe;

  uint64_t sequence_ = 0;       // orders equal deadlines by insertion
  TimerEntry* next_ = nullptr;  // in a slot: the next entry; in the heap: the next sibling
  TimerEntry* previous_ =
      nullptr;  // in a slot: the entry before; in the heap: the sibling before, or the parent
  TimerEntry* child_ = nullptr;  // in the heap: the first child
  uint16_t place_ = kIdle;       // kIdle, kNear (heap), or the slot: level * 64 + index
};

/// Pending deadlines in exact order: by deadline, then by insertion. Nothing is ever early, nothing
/// allocates, nothing fails; every deadline from INT64_MIN (due at once) to INT64_MAX is legal.
///
/// The wheel's level 0 has 64 slots of 2^kSlotBits ns; slots of each further level are 64 times as long. A
/// slot is an unordered list, so far timers, of which most are cancelled, cost a few nanoseconds. Entries up
/// to the wheel's tick lie in the heap. When the heap is empty and somebody asks for the earliest deadline,
/// the tick moves on to the next slot in use: its entries move to lower levels, and from level 0 to the heap.
///
/// A lone far timer takes the tick far ahead; what is then inserted before it goes to the heap. When most of
/// what is pending got into the heap that way, the tick moves back and everything is placed anew (amortised:
/// less than two moves per insertion).
///
/// Thread safety: none; one thread uses it. Sources: Varghese and Lauck, "Hashed and hierarchical timing
/// wheels", 1987; Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap", 1986.
class HORUS_API TimerQueue {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  explicit TimerQueue(int64_t now_ns) noexcept : tick_(tick_of(now_ns)) {}
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  ~TimerQueue() {
    HORUS_ASSERT(size_ == 0,
                 "a reactor ended before those who wait for its timers (its last log line names them)");
  }

  /// Links `entry`, which must not be pending. A deadline in the past is due at once, in its order.
  void insert(TimerEntry& entry, int64_t deadline_ns) noexcept;

  /// Unlinks `entry`; does nothing when it is not pending.
  void cancel(TimerEntry& entry) noexcept;

  /// Unlinks and returns the earliest entry whose deadline is at or before `now_ns`, or null.
  TimerEntry* pop_due(int64_t now_ns) noexcept;

  /// The earliest pending deadline, exactly; kNever when there is none.
  int64_t next_deadline() noexcept;

  size_t size() const noexcept { return size_; }

 private:
  // Level 0 slots of about 2 µs: moving an entry down a level costs less than a heap of more than a few.
  static constexpr int kSlotBits = 11;
  static constexpr int kLevelBits = 6;  // 64 slots: one word says which are in use
  static constexpr int kSlots = 1 << kLevelBits;
  static constexpr int kLevels = (63 - kSlotBits + kLevelBits - 1) / kLevelBits;
  static constexpr size_t kSmallHeap = 64;  // not worth moving the tick back for

  static uint64_t tick_of(int64_t time_ns) noexcept {
    return time_ns < 0 ? 0 : static_cast<uint64_t>(time_ns) >> kSlotBits;
  }
  static bool before(const TimerEntry& a, const TimerEntry& b) noexcept;
  static TimerEntry* meld(TimerEntry* a, TimerEntry* b) noexcept;
  static TimerEntry* meld_siblings(TimerEntry* first) noexcept;

  bool place(TimerEntry& entry) noexcept;
  void push_near(TimerEntry& entry) noexcept;
  void remove_near(TimerEntry& entry) noexcept;
  TimerEntry* take_slot(int slot) noexcept;
  void mark_empty(int slot) noexcept;
  void open_next_slot() noexcept;
  void move_tick_back() noexcept;

  uint64_t tick_;               // entries up to this tick lie in the heap, later ones in the wheel
  TimerEntry* near_ = nullptr;  // root of the heap
  size_t near_size_ = 0;
  size_t near_inserts_ = 0;  // insertions straight into the heap since everything was last placed anew
  size_t size_ = 0;
  uint64_t next_sequence_ = 0;
  uint32_t levels_in_use_ = 0;
  std::array<uint64_t, kLevels> slots_in_use_{};
  std::array<TimerEntry*, static_cast<size_t>(kLevels) * kSlots> slots_{};
};

}  // namespace horus::HORUS_ABI::io
