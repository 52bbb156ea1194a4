// SPDX-License-Identifier: Apache-2.0
// A bounded queue from any thread to one: how work reaches a reactor that runs elsewhere.
// Any thread may push; one thread pops. The mailbox owns what was pushed and not yet popped.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include <horus/base/assert.hpp>

namespace horus::HORUS_ABI {

/// Bounded multi-producer, single-consumer ring of fixed slots (Vyukov's bounded queue: a sequence number per
/// slot says whose turn it is). Allocates once, in the constructor; neither side ever blocks.
///
/// Order: what one thread pushes is popped in that order. A producer that was interrupted between claiming
/// its slot and filling it hides the values behind it until it is done; try_pop() then returns false.
///
/// Thread safety: try_push(), capacity() from any thread; try_pop(), empty() from the consumer only. The end
/// of try_push() synchronises with the try_pop() that returns the value.
///
/// Sleeping: a consumer that announces its sleep in a flag and then looks at empty() needs a sequentially
/// consistent fence between the two, and so does a producer between try_push() and its look at that flag.
template <class T>
class Mailbox {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_move_assignable_v<T>,
                "a value that could throw while it moves would block its slot for ever");

 public:
  /// `capacity` is a power of two, at least 2.
  explicit Mailbox(size_t capacity) : mask_(capacity - 1), slots_(new Slot[checked(capacity)]) {
    for (size_t i = 0; i < capacity; ++i) slots_[i].turn.store(i, std::memory_order_relaxed);
  }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;
  ~Mailbox() {
    for (Slot* slot; (slot = filled()) != nullptr; release(*slot)) slot->value()->~T();
  }

  /// Moves `value` in; false, with `value` untouched, when the mailbox is full.
  bool try_push(T&& value) noexcept {
    size_t position = push_position_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[position & mask_];
      const size_t turn = slot.turn.load(std::memory_order_acquire);
      if (turn == position) {
        if (push_position_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
          new (slot.storage) T(std::move(value));
          slot.turn.store(position + 1, std::memory_order_release);
          return true;
        }
      } else if (static_cast<std::make_signed_t<size_t>>(turn - position) < 0) {
        return false;  // the value that was pushed one round ago is still there
      } else {
        position = push_position_.load(std::memory_order_relaxed);
      }
    }
  }
  bool try_push(const T& value) noexcept(std::is_nothrow_copy_constructible_v<T>) {
    return try_push(T(value));
  }

  /// Moves the oldest value into `value`; false, with `value` untouched, when there is none.
  bool try_pop(T& value) noexcept {
    Slot* slot = filled();
    if (slot == nullptr) return false;
    T* stored = slot->value();
    value = std::move(*stored);
    stored->~T();
    release(*slot);
    return true;
  }

  /// True when try_pop() would return false.
  bool empty() const noexcept { return filled() == nullptr; }

  size_t capacity() const noexcept { return mask_ + 1; }

 private:
  struct Slot {
    std::atomic<size_t> turn;  // position: may be filled; position + 1: may be taken
    alignas(T) std::byte storage[sizeof(T)];

    T* value() noexcept { return std::launder(reinterpret_cast<T*>(storage)); }
  };

  static size_t checked(size_t capacity) {
    HORUS_ASSERT(capacity >= 2 && std::has_single_bit(capacity),
                 "a mailbox's capacity must be a power of two");
    return capacity;
  }
  Slot* filled() const noexcept {
    Slot& slot = slots_[pop_position_ & mask_];
    return slot.turn.load(std::memory_order_acquire) == pop_position_ + 1 ? &slot : nullptr;
  }
  void release(Slot& slot) noexcept {
    slot.turn.store(pop_position_ + mask_ + 1, std::memory_order_release);
    ++pop_position_;
  }

  static constexpr size_t kCacheLine = 64;
  const size_t mask_;
  const std::unique_ptr<Slot[]> slots_;
  alignas(kCacheLine) std::atomic<size_t> push_position_{0};
  alignas(kCacheLine) size_t pop_position_ = 0;  // the consumer's own
};

}  // namespace horus::HORUS_ABI
