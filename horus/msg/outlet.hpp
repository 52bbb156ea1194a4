// SPDX-License-Identifier: Apache-2.0
// The publisher's end of one link. Trusts nothing that its subscriber wrote. The publisher's thread. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/counter.hpp>
#include <horus/msg/link_memory.hpp>
#include <horus/msg/options.hpp>

namespace horus::msg {

class Inbox;

/// Wakes the other end of a link, wherever it runs. Any thread.
class Bell {
 public:
  virtual ~Bell() = default;
  virtual void ring() noexcept = 0;
};

/// What became of the messages that a link's subscriber took on behalf of another process. The transport's thread
/// writes it, the publisher's reads it.
class FarEnd {
 public:
  /// The link, and what wakes its publisher: connect_here() sets both.
  void belong_to(LinkMemory link, std::shared_ptr<Bell> publisher) noexcept {
    link_ = std::move(link);
    publisher_ = std::move(publisher);
  }
  /// So many have been delivered and lost there since the beginning; wakes a publisher that waits for room.
  void settle(std::uint64_t delivered, std::uint64_t dropped) noexcept;
  /// The other process is gone, or has let go: what was under way is lost.
  void lose() noexcept { lost_.store(true, std::memory_order_relaxed); }

  [[nodiscard]] std::uint64_t delivered() const noexcept {
    return delivered_.load(std::memory_order_seq_cst);
  }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> delivered_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> lost_{false};
  LinkMemory link_;
  std::shared_ptr<Bell> publisher_;
};

/// Where a publisher puts messages for one subscriber.
class Outlet {
 public:
  enum class Outcome : std::uint8_t { queued, overwrote, refused };

  /// `bell` wakes the subscriber; `neighbour` is set instead when it lives on the same thread.
  Outlet(LinkMemory memory, Overflow overflow, std::shared_ptr<Bell> bell, Inbox* neighbour);

  /// Queues a slot. After `overwrote`, `victim` is the slot of the oldest message, which is the publisher's again.
  Outcome push(const Entry& entry, std::uint32_t& victim) noexcept;
  /// Tells the subscriber. After push(), when the message is worth waking for.
  void notify() noexcept;
  /// Calls `release(slot)` for each slot that the subscriber has given back. False when it gave back what it never had:
  /// the link is then to be closed.
  template <class Release>
  bool collect(Release&& release) {
    const std::uint64_t end = memory_.state->returned.load(std::memory_order_acquire);
    if (end - collected_ > memory_.return_capacity) return false;
    for (; collected_ != end; ++collected_) {
      const std::uint32_t slot =
          memory_.returns[collected_ & (memory_.return_capacity - 1)].load(std::memory_order_relaxed);
      if (!unmark(slot)) return false;
      release(slot);
    }
    return true;
  }
  /// Calls `release(slot)` for each slot that the subscriber still has: it is gone.
  template <class Release>
  void abandon(Release&& release) {
    for (std::uint32_t slot = 0; slot < slots_; ++slot) {
      if (unmark(slot)) release(slot);
    }
  }
  [[nodiscard]] bool has_room() noexcept {
    if (pushed_ - taken_seen_ >= memory_.depth) {
      taken_seen_ = memory_.state->taken.load(std::memory_order_seq_cst);
      if (pushed_ - taken_seen_ >= memory_.depth) return false;
    }
    return far_end == nullptr || pushed_ - memory_.state->overwritten.load(std::memory_order_relaxed) -
                                         far_end->delivered() - far_end->dropped() <
                                     memory_.depth;
  }
  /// Asks to be woken when there is room, before another look.
  void ask_for_room() noexcept { memory_.state->publisher_waits.store(1, std::memory_order_seq_cst); }
  [[nodiscard]] bool subscriber_closed() const noexcept {
    return memory_.state->subscriber_closed.load(std::memory_order_acquire) != 0;
  }
  /// Closed, and every sample has come back.
  [[nodiscard]] bool subscriber_gone() const noexcept {
    return memory_.state->subscriber_closed.load(std::memory_order_acquire) > 1;
  }
  void close() noexcept;
  /// `messages` that should have come through this link were lost before it.
  void count_lost(std::uint64_t messages) noexcept { horus::detail::count(memory_.state->refused, messages); }

  [[nodiscard]] const LinkMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] Overflow overflow() const noexcept { return overflow_; }

  /// What became of the messages so far: sent = delivered + dropped + queued + in_flight.
  struct Account {
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    std::uint64_t dropped = 0;
    std::uint64_t queued = 0;
    std::uint64_t in_flight = 0;
  };
  [[nodiscard]] Account account() const noexcept;

  std::shared_ptr<FarEnd> far_end;  ///< of a subscriber that stands for one elsewhere
  std::uint32_t reserved = 0;       ///< slots of the publisher's budget

 private:
  [[nodiscard]] bool unmark(std::uint32_t slot) noexcept {
    if (slot >= slots_ || (marks_[slot / 64] >> (slot % 64) & 1) == 0) return false;
    marks_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    return true;
  }

  LinkMemory memory_;
  Overflow overflow_;
  std::shared_ptr<Bell> bell_;
  Inbox* neighbour_;
  std::uint32_t slots_;
  std::uint64_t pushed_ = 0;
  std::uint64_t taken_seen_ = 0;  // taken, as last read
  std::uint64_t collected_ = 0;
  std::vector<std::uint32_t> queue_;  // slots by entry number: the shared copy might have been changed
  std::vector<std::uint64_t> marks_;  // a bit for each slot that the subscriber may have
};

}  // namespace horus::msg
