// SPDX-License-Identifier: Apache-2.0
// The publisher's end of one link. Trusts nothing that its subscriber wrote. The publisher's thread. Internal.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/counter.hpp>
#include <horus/msg/link/link_memory.hpp>
#include <horus/msg/options.hpp>

namespace horus::HORUS_ABI::msg {

class Inbox;
class Inlet;

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

/// Who is at a link's other end.
enum class Role : std::uint8_t {
  subscriber,
  observer,  ///< reads along: never counted, never waited for, takes no place from a subscriber
};

/// Where a publisher puts messages for one subscriber.
class Outlet {
 public:
  /// The subscriber, when it lives on the publisher's thread: nothing passes through memory that others see.
  struct Neighbour {
    Inbox* inbox;
    Inlet* inlet;
  };

  /// `bell` wakes a subscriber that is no neighbour.
  Outlet(LinkMemory memory, Overflow overflow, std::shared_ptr<Bell> bell,
         Neighbour neighbour = {nullptr, nullptr});

  [[nodiscard]] bool is_inline() const noexcept { return memory_.shape.inline_bytes != 0; }
  /// push() and notify(), or straight to a neighbour that waits for a message.
  bool send(const void* message, std::int64_t stamp_ns) noexcept;
  /// Copies a message of shape.inline_bytes. False when it was refused.
  bool push(const void* message, std::int64_t stamp_ns) noexcept;
  /// Queues a slot. False when it was refused. A `victim` that is set is the slot of an older message, and the
  /// publisher's again.
  bool push(const SlotMessage& message, std::uint32_t& victim) noexcept;
  /// Tells the subscriber. After push(), when the message is worth waking for.
  void notify() noexcept;
  /// Calls `release(slot)` for each slot that the subscriber has given back. False when it gave back what it never had,
  /// or holds back more than it may: the link is then to be closed.
  template <class Release>
  bool collect(Release&& release) {
    if (is_inline()) return true;
    const std::uint64_t end = memory_.state->returned.load(std::memory_order_acquire);
    if (end - collected_ > memory_.return_capacity) return false;
    for (; collected_ != end; ++collected_) {
      const std::uint32_t slot =
          memory_.returns[collected_ & (memory_.return_capacity - 1)].load(std::memory_order_relaxed);
      if (!unmark(slot)) return false;
      release(slot);
    }
    return !holds_too_many();
  }
  /// True when the subscriber may have more slots than its queue and its hands hold: collect() tells whether that is so.
  [[nodiscard]] bool holds_too_many() const noexcept { return reserved != 0 && marked_ > reserved; }
  /// Calls `release(slot)` for each slot that the subscriber still has: it is gone.
  template <class Release>
  void abandon(Release&& release) {
    for (std::uint32_t slot = 0; slot < memory_.shape.slots; ++slot) {
      if (unmark(slot)) release(slot);
    }
  }
  [[nodiscard]] bool has_room() noexcept {
    if (writer_.pushed() - position_seen_ >= memory_.shape.depth && !find_room()) return false;
    return far_end == nullptr || far_end_has_room();
  }
  /// Asks to be woken when there is room; then comes a far barrier, if this says so, and another look.
  [[nodiscard]] bool ask_for_room() noexcept;
  [[nodiscard]] bool observes() const noexcept { return role == Role::observer; }
  [[nodiscard]] bool subscriber_closed() const noexcept {
    return memory_.state->subscriber_closed.load(std::memory_order_acquire) != 0;
  }
  /// Closed, and every sample has come back.
  [[nodiscard]] bool subscriber_gone() const noexcept {
    return memory_.state->subscriber_closed.load(std::memory_order_acquire) > 1;
  }
  void close() noexcept;  ///< once; later calls do nothing
  /// `messages` that should have come through this link were lost before it.
  void count_lost(std::uint64_t messages) noexcept;

  [[nodiscard]] const LinkMemory& memory() const noexcept { return memory_; }
  [[nodiscard]] Overflow overflow() const noexcept { return overflow_; }

  /// What became of the messages so far: sent = delivered + dropped + queued + in_flight, whatever the subscriber
  /// claims.
  struct Account {
    std::uint64_t sent = 0;
    std::uint64_t delivered = 0;
    std::uint64_t dropped = 0;
    std::uint64_t queued = 0;
    std::uint64_t in_flight = 0;
  };
  /// One thread at a time.
  [[nodiscard]] Account account() noexcept;

  std::shared_ptr<FarEnd> far_end;  ///< of a subscriber that stands for one elsewhere
  std::uint32_t reserved = 0;       ///< slots of the publisher's budget
  bool is_far = false;              ///< its subscriber is in another process
  Role role = Role::subscriber;
  /// Its process does not answer: nobody waits for the room that it would make. Any thread.
  std::atomic<bool> peer_silent{false};

 private:
  [[nodiscard]] bool unmark(std::uint32_t slot) noexcept {
    if (slot >= memory_.shape.slots || (marks_[slot / 64] >> (slot % 64) & 1) == 0) return false;
    marks_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    --marked_;
    return true;
  }
  [[nodiscard]] bool makes_room(std::uint64_t& passed_over) noexcept;
  [[nodiscard]] bool find_room() noexcept;
  [[nodiscard]] bool far_end_has_room() const noexcept;

  LinkMemory memory_;
  const Overflow overflow_;
  std::shared_ptr<Bell> bell_;
  const Neighbour neighbour_;
  LinkWriter<RealAtomics> writer_;
  std::uint64_t position_seen_ = 0;  // messages that the subscriber is done with, as last read
  std::uint64_t collected_ = 0;
  std::uint32_t marked_ = 0;
  bool closed_ = false;
  std::vector<std::uint32_t> queue_;       // slots by message: the shared copy might have been changed
  std::vector<std::uint64_t> marks_;       // a bit for each slot that the subscriber may have
  std::atomic<std::uint64_t> pushed_{0};   // for account()
  std::atomic<std::uint64_t> refused_{0};  // the shared copy might have been changed
  std::uint64_t believed_taken_ = 0;       // by account()
  std::uint64_t believed_dropped_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
