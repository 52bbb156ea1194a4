// SPDX-License-Identifier: Apache-2.0
// The subscriber's end of one link. Trusts nothing that its publisher wrote. The subscriber's thread. Internal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <horus/base/export.hpp>
#include <horus/msg/link_memory.hpp>

namespace horus::msg {

class Bell;
class Inbox;
class Inlet;

/// A message that was taken from a queue. Whoever has it gives it back to the inlet.
struct Arrival {
  Inlet* inlet = nullptr;
  const std::byte* data = nullptr;
  std::uint32_t slot = 0;
  std::uint32_t tail_bytes = 0;
  std::uint64_t number = 0;   // of its link, from 0; gaps are messages that were lost
  std::int64_t stamp_ns = 0;  // 0: not stamped
};

/// Where a subscriber takes one publisher's messages from. Lives until its inbox has let it go and every sample of it
/// has come back.
class HORUS_API Inlet {
 public:
  enum class Outcome : std::uint8_t { none, taken, too_many_held, broken };

  /// `slots` is the publisher's memory, of `count` slots with a tail of whole elements behind `tail_offset` bytes.
  Inlet(LinkMemory memory, std::shared_ptr<Mapping> slots, std::uint32_t count, std::uint32_t stride,
        std::uint32_t tail_offset, std::uint32_t element_bytes, std::uint32_t max_held,
        std::shared_ptr<Bell> bell, bool same_thread) noexcept;
  Inlet(const Inlet&) = delete;
  Inlet& operator=(const Inlet&) = delete;

  /// Takes the oldest message. `broken`: the publisher wrote what cannot be.
  Outcome take(Arrival& arrival) noexcept;
  void give_back(std::uint32_t slot) noexcept;
  /// The inbox needs it no more.
  void let_go() noexcept;

  [[nodiscard]] bool empty() const noexcept {
    return memory_.state->taken.load(std::memory_order_relaxed) ==
           memory_.state->pushed.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool publisher_closed() const noexcept {
    return memory_.state->publisher_closed.load(std::memory_order_acquire) != 0;
  }
  [[nodiscard]] bool publisher_died() const noexcept {
    return memory_.state->publisher_closed.load(std::memory_order_relaxed) > 1;
  }
  [[nodiscard]] bool same_thread() const noexcept { return same_thread_; }
  /// Messages that were lost on this link.
  [[nodiscard]] std::uint64_t dropped() const noexcept {
    return memory_.state->overwritten.load(std::memory_order_relaxed) +
           memory_.state->refused.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t queued() const noexcept;
  /// The longest queue that the subscriber has met. Any thread.
  [[nodiscard]] std::uint64_t high_water() const noexcept {
    return high_water_.load(std::memory_order_relaxed);
  }
  void set_asleep(bool asleep) noexcept {
    memory_.state->subscriber_asleep.store(asleep ? 1 : 0, std::memory_order_relaxed);
  }
  /// That it looks all the time, and need not be woken. False where the publisher cannot rely on it.
  bool set_polling(bool polling) noexcept {
    if (polling && memory_.state->publisher_admits.load(std::memory_order_relaxed) == 0) return false;
    memory_.state->subscriber_polls.store(polling ? 1 : 0, std::memory_order_relaxed);
    return true;
  }
  [[nodiscard]] bool asleep() const noexcept {
    return memory_.state->subscriber_asleep.load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] const LinkMemory& memory() const noexcept { return memory_; }

 private:
  ~Inlet() = default;
  void tell_room() noexcept;
  void end() noexcept;

  LinkMemory memory_;
  std::shared_ptr<Mapping> slots_;
  std::shared_ptr<Bell> bell_;  // the publisher's
  std::uint32_t count_;
  std::uint32_t stride_;
  std::uint32_t tail_offset_;
  std::uint32_t element_bytes_;
  std::uint32_t max_held_;
  std::uint32_t held_ = 0;
  std::uint64_t pushed_seen_ = 0;
  std::atomic<std::uint64_t> high_water_{0};
  std::uint64_t returned_ = 0;
  bool same_thread_;
  bool let_go_ = false;
};

}  // namespace horus::msg
