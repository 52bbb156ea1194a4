// SPDX-License-Identifier: Apache-2.0
// The subscriber's end of one link. Trusts nothing that its publisher wrote. The subscriber's thread. Internal.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/msg/link/link_memory.hpp>
#include <horus/msg/link/slot_pool.hpp>

namespace horus::HORUS_ABI::msg {

class Bell;
class Inbox;
class Inlet;

/// A message that was taken from a queue. One in a slot is given back; the bytes of a small one are where its taker wanted
/// them, and the link may be gone.
struct Arrival {
  Inlet* inlet = nullptr;  // null: none
  const std::byte* data = nullptr;
  std::uint32_t slot = SlotPool::kNone;
  std::uint32_t tail_bytes = 0;
  std::uint64_t number = 0;  // of its link, from 0; gaps are messages that were lost
  std::int64_t stamp_ns =
      0;  // when it was published; negative: when it came here, since the publisher's clock is another

  void give_back() const noexcept;
};

/// How long ago an Arrival::stamp_ns was, at least 0: stamps of peers may be anything. The loop's thread.
[[nodiscard]] HORUS_API Duration age_of(std::int64_t stamp_ns) noexcept;
/// The same at another time of that clock.
[[nodiscard]] Duration age_at(std::int64_t time_ns, std::int64_t stamp_ns) noexcept;

/// Where a message that travels in its entry is taken to.
struct alignas(64) MessageStorage {
  std::byte bytes[(kMostInline + 63) / 64 * 64];
};

/// Where a subscriber takes one publisher's messages from. Lives until its inbox has let it go and every slot of it has
/// come back.
class HORUS_API Inlet {
 public:
  enum class Outcome : std::uint8_t { none, taken, too_many_held, broken };

  /// `slots` are the publisher's, each with a tail of whole elements behind `tail_offset` bytes; `clock_shift` is what makes
  /// its times ours.
  Inlet(LinkMemory memory, std::shared_ptr<const SlotTable> slots, std::uint32_t tail_offset,
        std::uint32_t element_bytes, std::uint32_t max_held, std::shared_ptr<Bell> bell, bool same_thread,
        std::int64_t clock_shift = 0) noexcept;
  Inlet(const Inlet&) = delete;
  Inlet& operator=(const Inlet&) = delete;

  /// It was asked for at that time, before it was made here: what was sent since then is believed.
  void asked_at(std::int64_t time_ns) noexcept { asked_ns_ = time_ns; }

  /// Takes the oldest message, one that travels in its entry to `storage`. `broken`: the publisher wrote what cannot be.
  Outcome take(Arrival& arrival, std::byte* storage) noexcept;
  void give_back(std::uint32_t slot) noexcept;
  /// Passes over all that is queued now, however many samples are held. Gives how many messages that were.
  std::uint64_t discard() noexcept;
  /// The publisher's state; see PublisherWord.
  [[nodiscard]] std::uint32_t publisher_word() const noexcept { return slots_->word().value(); }
  /// The inbox needs it no more.
  void let_go() noexcept;
  /// Of all that there ever were.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }

  [[nodiscard]] bool is_inline() const noexcept { return memory_.shape.inline_bytes != 0; }
  [[nodiscard]] bool empty() const noexcept {
    return same_thread_ ? reader_.next() == memory_.state->pushed.load(std::memory_order_relaxed)
                        : reader_.empty() || lacks_memory();
  }
  [[nodiscard]] bool publisher_closed() const noexcept {
    return memory_.state->publisher_closed.load(std::memory_order_acquire) != 0;
  }
  [[nodiscard]] bool publisher_died() const noexcept {
    return memory_.state->publisher_closed.load(std::memory_order_relaxed) > 1;
  }
  /// True once, when it died.
  [[nodiscard]] bool news_of_death() noexcept {
    return publisher_died() && !std::exchange(death_told_, true);
  }
  [[nodiscard]] bool same_thread() const noexcept { return same_thread_; }
  /// True when what is taken depends on when a stretch of taking began.
  [[nodiscard]] bool takes_batches() const noexcept { return memory_.shape.drops_oldest && !same_thread_; }
  /// A stretch of taking with this number goes on, or begins: then the oldest messages may have given way meanwhile.
  void go_on(std::uint64_t stretch) noexcept {
    if (stretch_ == stretch) return;
    stretch_ = stretch;
    reader_.end_batch();
  }
  /// Messages that were lost on this link. Any thread.
  [[nodiscard]] std::uint64_t dropped() const noexcept;
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
  /// Its publisher waits for room, and is to be told by tell_room() at the end of this stretch.
  [[nodiscard]] bool owes_room() const noexcept { return owes_room_; }
  void tell_room() noexcept;
  [[nodiscard]] const LinkMemory& memory() const noexcept { return memory_; }

  // --- For the publisher's end, on this very thread
  /// The oldest message gives way.
  void pass_over_one() noexcept;
  /// The next message has reached the subscriber by another way; gives its number.
  std::uint64_t pass_taken() noexcept {
    note_high_water(1);
    reader_.pass_taken();
    publish_position();
    return reader_.next() - 1;
  }

 private:
  ~Inlet() = default;
  [[nodiscard]] bool is_plausible(std::uint64_t pushed, std::uint64_t next) const noexcept;
  void note_high_water(std::uint64_t waiting) noexcept {
    if (waiting > high_water_.load(std::memory_order_relaxed))
      high_water_.store(waiting, std::memory_order_relaxed);
  }
  // For other threads, which must not look at the shared copies: the publisher may have changed them.
  void publish_position() noexcept {
    next_.store(reader_.next(), std::memory_order_relaxed);
    dropped_.store(reader_.dropped(), std::memory_order_relaxed);
    until_.store(reader_.until(), std::memory_order_relaxed);
  }
  void owe_room() noexcept;
  [[nodiscard]] bool lacks_memory() const noexcept {
    return awaited_ != SlotPool::kNone && slots_->data(awaited_) == nullptr;
  }
  Outcome taken(Arrival& arrival) noexcept;
  void end() noexcept;

  LinkMemory memory_;
  LinkReader<RealAtomics> reader_;
  std::shared_ptr<const SlotTable> slots_;
  std::shared_ptr<Bell> bell_;  // the publisher's
  std::uint32_t tail_offset_;
  std::uint32_t element_bytes_;
  std::uint32_t max_held_;
  std::uint32_t held_ = 0;
  std::uint32_t awaited_ = SlotPool::kNone;  // the next message is in this slot, whose memory was not here
  std::uint64_t returned_ = 0;
  std::uint64_t stretch_ = 0;
  const std::uint64_t serial_;
  std::int64_t asked_ns_;  // nothing was sent before
  const std::int64_t clock_shift_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint64_t> until_{0};
  std::atomic<std::uint64_t> high_water_{0};
  bool same_thread_;
  bool admits_;  // far barriers
  bool owes_room_ = false;
  bool let_go_ = false;
  bool discarding_ = false;
  bool death_told_ = false;
};

inline void Arrival::give_back() const noexcept {
  if (slot != SlotPool::kNone) inlet->give_back(slot);
}

}  // namespace horus::HORUS_ABI::msg
