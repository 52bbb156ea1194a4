// SPDX-License-Identifier: Apache-2.0
// The wheel and its heap; see the header for how they share the work.
#include <horus/io/loop/timer_queue.hpp>

#include <bit>
#include <utility>

namespace horus::HORUS_ABI::io {

// Pairing heap. A tree's root has neither siblings nor a parent.

inline bool TimerQueue::before(const TimerEntry& a, const TimerEntry& b) noexcept {
  if (a.deadline_ns != b.deadline_ns) return a.deadline_ns < b.deadline_ns;
  return a.sequence_ < b.sequence_;
}

// Joins two trees: the later root becomes the first child of the earlier one, which is returned.
inline TimerEntry* TimerQueue::meld(TimerEntry* a, TimerEntry* b) noexcept {
  if (before(*b, *a)) std::swap(a, b);
  b->previous_ = a;
  b->next_ = a->child_;
  if (b->next_ != nullptr) b->next_->previous_ = b;
  a->child_ = b;
  return a;
}

// Joins sibling trees first in pairs, then into one tree.
TimerEntry* TimerQueue::meld_siblings(TimerEntry* first) noexcept {
  TimerEntry* pairs = nullptr;  // linked through next_, the last pair in front
  while (first != nullptr) {
    TimerEntry* second = first->next_;
    TimerEntry* rest = second == nullptr ? nullptr : second->next_;
    TimerEntry* pair = second == nullptr ? first : meld(first, second);
    pair->next_ = pairs;
    pairs = pair;
    first = rest;
  }
  TimerEntry* tree = pairs;
  pairs = tree->next_;
  while (pairs != nullptr) {
    TimerEntry* rest = pairs->next_;
    tree = meld(tree, pairs);
    pairs = rest;
  }
  tree->next_ = nullptr;
  tree->previous_ = nullptr;
  return tree;
}

inline void TimerQueue::push_near(TimerEntry& entry) noexcept {
  entry.place_ = TimerEntry::kNear;
  entry.next_ = nullptr;
  entry.previous_ = nullptr;
  entry.child_ = nullptr;
  near_ = near_ == nullptr ? &entry : meld(near_, &entry);
  ++near_size_;
}

void TimerQueue::remove_near(TimerEntry& entry) noexcept {
  TimerEntry* orphans = entry.child_ == nullptr ? nullptr : meld_siblings(entry.child_);
  if (&entry == near_) {
    near_ = orphans;
  } else {
    TimerEntry* previous = entry.previous_;
    (previous->child_ == &entry ? previous->child_ : previous->next_) = entry.next_;
    if (entry.next_ != nullptr) entry.next_->previous_ = previous;
    if (orphans != nullptr) near_ = meld(near_, orphans);
  }
  --near_size_;
}

// Wheel. A slot in use has its bit set, and its level has one.

inline void TimerQueue::mark_empty(int slot) noexcept {
  const int level = slot / kSlots;
  slots_in_use_[level] &= ~(uint64_t{1} << (slot % kSlots));
  if (slots_in_use_[level] == 0) levels_in_use_ &= ~(1U << level);
}

inline TimerEntry* TimerQueue::take_slot(int slot) noexcept {
  mark_empty(slot);
  return std::exchange(slots_[slot], nullptr);
}

// Links an unlinked entry where its deadline belongs at the present tick; true when that is the heap.
inline bool TimerQueue::place(TimerEntry& entry) noexcept {
  const uint64_t tick = tick_of(entry.deadline_ns);
  if (tick <= tick_) {
    push_near(entry);
    return true;
  }
  // The highest bit in which the two ticks differ chooses the level: above it, both lie in the same slots.
  const int level = (std::bit_width(tick ^ tick_) - 1) / kLevelBits;
  const int index = static_cast<int>(tick >> (level * kLevelBits)) & (kSlots - 1);
  const int slot = level * kSlots + index;
  TimerEntry* first = slots_[slot];
  slots_[slot] = &entry;
  entry.place_ = static_cast<uint16_t>(slot);
  entry.next_ = first;
  entry.previous_ = nullptr;
  if (first != nullptr) {
    first->previous_ = &entry;
  } else {
    slots_in_use_[level] |= uint64_t{1} << index;
    levels_in_use_ |= 1U << level;
  }
  return false;
}

// With an empty heap: moves the tick to the start of the next slot in use and places that slot's entries
// anew. No entry lies before it, so all levels below that slot's are empty.
void TimerQueue::open_next_slot() noexcept {
  const int level = std::countr_zero(levels_in_use_);
  const int index = std::countr_zero(slots_in_use_[level]);
  const int shift = level * kLevelBits;
  tick_ = (((tick_ >> shift) & ~uint64_t{kSlots - 1}) | static_cast<uint64_t>(index)) << shift;
  TimerEntry* entry = take_slot(level * kSlots + index);
  while (entry != nullptr) {
    TimerEntry* next = entry->next_;
    if (next != nullptr) __builtin_prefetch(next->next_);
    place(*entry);
    entry = next;
  }
}

// Moves the tick back to the earliest entry and places everything anew.
void TimerQueue::move_tick_back() noexcept {
  near_inserts_ = 0;
  if (tick_of(near_->deadline_ns) >= tick_) return;
  TimerEntry* all = nullptr;  // linked through next_
  // The heap's trees are unlinked from the top; those still to visit are stacked through previous_.
  TimerEntry* stack = near_;
  near_->previous_ = nullptr;
  while (stack != nullptr) {
    TimerEntry* entry = stack;
    stack = entry->previous_;
    for (TimerEntry* tree : {entry->next_, entry->child_}) {
      if (tree == nullptr) continue;
      tree->previous_ = stack;
      stack = tree;
    }
    entry->next_ = all;
    all = entry;
  }
  for (; levels_in_use_ != 0;) {
    const int level = std::countr_zero(levels_in_use_);
    TimerEntry* entry = take_slot(level * kSlots + std::countr_zero(slots_in_use_[level]));
    while (entry != nullptr) {
      TimerEntry* next = entry->next_;
      entry->next_ = all;
      all = entry;
      entry = next;
    }
  }
  tick_ = tick_of(near_->deadline_ns);
  near_ = nullptr;
  near_size_ = 0;
  while (all != nullptr) {
    TimerEntry* entry = all;
    all = all->next_;
    place(*entry);
  }
}

// The queue.

void TimerQueue::insert(TimerEntry& entry, int64_t deadline_ns) noexcept {
  HORUS_ASSERT(!entry.pending(), "a timer entry was scheduled twice");
  entry.deadline_ns = deadline_ns;
  entry.sequence_ = next_sequence_++;
  ++size_;
  if (!place(entry)) return;
  const size_t limit = kSmallHeap + size_ / 2;
  if (++near_inserts_ > limit && near_size_ > limit) move_tick_back();
}

void TimerQueue::cancel(TimerEntry& entry) noexcept {
  if (!entry.pending()) return;
  if (entry.place_ == TimerEntry::kNear) {
    remove_near(entry);
  } else {
    if (entry.next_ != nullptr) entry.next_->previous_ = entry.previous_;
    if (entry.previous_ != nullptr) {
      entry.previous_->next_ = entry.next_;
    } else {
      slots_[entry.place_] = entry.next_;
      if (entry.next_ == nullptr) mark_empty(entry.place_);
    }
  }
  entry.place_ = TimerEntry::kIdle;
  --size_;
}

int64_t TimerQueue::next_deadline() noexcept {
  while (near_ == nullptr) {
    if (levels_in_use_ == 0) return kNever;
    open_next_slot();
  }
  return near_->deadline_ns;
}

TimerEntry* TimerQueue::pop_due(int64_t now_ns) noexcept {
  if (size_ == 0) {
    // Nothing to lose track of: keep up with the time, so that what comes next starts at a low level.
    if (const uint64_t tick = tick_of(now_ns); tick > tick_) tick_ = tick;
    return nullptr;
  }
  if (next_deadline() > now_ns) return nullptr;
  TimerEntry* entry = near_;
  remove_near(*entry);
  entry->place_ = TimerEntry::kIdle;
  --size_;
  return entry;
}

}  // namespace horus::HORUS_ABI::io
