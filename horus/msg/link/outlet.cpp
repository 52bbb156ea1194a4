// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/outlet.hpp>

#include <algorithm>
#include <utility>

#include <horus/base/far_barrier.hpp>
#include <horus/msg/link/inbox.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::uint64_t kNobody = UINT64_MAX;  // no message's number

bool makes_far_barriers() noexcept {
  static const bool works = admit_far_barriers() && far_barrier();
  return works;
}

}  // namespace

Outlet::Outlet(LinkMemory memory, Overflow overflow, std::shared_ptr<Bell> bell, Neighbour neighbour)
    : memory_(std::move(memory)),
      overflow_(overflow),
      bell_(std::move(bell)),
      neighbour_(neighbour),
      writer_(memory_.words),
      queue_(is_inline() ? 0 : memory_.words.capacity),
      marks_((memory_.shape.slots + 63) / 64) {
  if (neighbour_.inbox != nullptr || !makes_far_barriers()) return;
  memory_.state->publisher_admits.store(1, std::memory_order_relaxed);
  memory_.state->publisher_fences.store(1, std::memory_order_relaxed);
}

// --- Messages ---------------------------------------------------------------------------------------------------------

// What the subscriber is done with. A counter that falls, or that is ahead of what was sent, is not believed.
bool Outlet::find_room() noexcept {
  const LinkState& state = *memory_.state;
  const std::uint64_t position =
      state.taken.load(std::memory_order_acquire) + state.dropped.load(std::memory_order_acquire);
  if (position > position_seen_ && position <= writer_.pushed()) position_seen_ = position;
  return writer_.pushed() - position_seen_ < memory_.shape.depth;
}

// Before a message is pushed: false when it has to be refused. An overtaken subscriber passes over what is too old itself;
// for a neighbour the publisher does so, and `passed_over` is the number of that message.
bool Outlet::makes_room(std::uint64_t& passed_over) noexcept {
  if (neighbour_.inlet == nullptr && memory_.shape.drops_oldest) return true;
  if (writer_.pushed() - position_seen_ < memory_.shape.depth || find_room()) return true;
  if (memory_.shape.drops_oldest) {
    passed_over = position_seen_++;
    neighbour_.inlet->pass_over_one();
    return true;
  }
  horus::detail::count(refused_);
  memory_.state->refused.store(refused_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  return false;
}

bool Outlet::send(const void* message, std::int64_t stamp_ns) noexcept {
  if (neighbour_.inbox != nullptr && neighbour_.inbox->waits_for(*neighbour_.inlet)) {
    pushed_.store(writer_.pushed() + 1, std::memory_order_relaxed);
    neighbour_.inbox->hand_over(*neighbour_.inlet, message, memory_.shape.inline_bytes, stamp_ns);
    writer_.pass();
    return true;
  }
  if (!push(message, stamp_ns)) return false;
  notify();
  return true;
}

bool Outlet::push(const void* message, std::int64_t stamp_ns) noexcept {
  std::uint64_t passed_over = kNobody;
  if (!makes_room(passed_over)) return false;
  // First: who sees the message counts it as sent.
  pushed_.store(writer_.pushed() + 1, std::memory_order_relaxed);
  writer_.push(message, memory_.shape.inline_bytes, stamp_ns);
  return true;
}

bool Outlet::push(const SlotMessage& message, std::uint32_t& victim) noexcept {
  std::uint64_t oldest = kNobody;
  if (!makes_room(oldest)) return false;
  const std::uint64_t number = writer_.pushed();
  if (neighbour_.inlet == nullptr && memory_.shape.drops_oldest && number >= memory_.shape.depth &&
      writer_.revoke(number - memory_.shape.depth))
    oldest = number - memory_.shape.depth;
  if (oldest != kNobody) {
    const std::uint32_t slot = queue_[oldest & (memory_.words.capacity - 1)];
    // One that is not marked came back already: the subscriber changed the entry, and harms only itself.
    if (unmark(slot)) victim = slot;
  }
  queue_[number & (memory_.words.capacity - 1)] = message.slot;
  marks_[message.slot / 64] |= std::uint64_t{1} << (message.slot % 64);
  ++marked_;
  pushed_.store(number + 1, std::memory_order_relaxed);
  writer_.push(message);
  return true;
}

void Outlet::notify() noexcept {
  if (neighbour_.inbox != nullptr) return neighbour_.inbox->arrived();
  // Pairs with the fence in Inbox::before_sleep(): it sees the message, or we see that it sleeps. One that has polled makes
  // its barrier here too, so that those that poll cost us none.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (memory_.state->subscriber_polls.load(std::memory_order_relaxed) != 0) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  std::atomic<std::uint32_t>& asleep = memory_.state->subscriber_asleep;
  if (asleep.load(std::memory_order_relaxed) != 0 && asleep.exchange(0, std::memory_order_relaxed) != 0)
    bell_->ring();
}

void Outlet::close() noexcept {
  if (std::exchange(closed_, true)) return;
  memory_.state->publisher_closed.store(1, std::memory_order_release);
  if (neighbour_.inbox == nullptr) {
    memory_.state->subscriber_asleep.store(0, std::memory_order_relaxed);
    bell_->ring();
  } else if (!subscriber_closed()) {
    neighbour_.inbox->arrived();
  }
}

// --- Room -------------------------------------------------------------------------------------------------------------

// Pairs with Inlet::tell_room(): a subscriber that admits far barriers makes none of its own for each message.
bool Outlet::ask_for_room() noexcept {
  memory_.state->publisher_waits.store(1, std::memory_order_seq_cst);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return neighbour_.inbox == nullptr &&
         memory_.state->publisher_fences.load(std::memory_order_relaxed) != 0 &&
         memory_.state->subscriber_admits.load(std::memory_order_relaxed) != 0;
}

// Of what was pushed, what is neither lost on this side nor settled on the other is still to be taken there.
bool Outlet::far_end_has_room() const noexcept {
  const std::uint64_t lost_here = memory_.state->dropped.load(std::memory_order_relaxed);
  return writer_.pushed() - lost_here - far_end->delivered() - far_end->dropped() < memory_.shape.depth;
}

void FarEnd::settle(std::uint64_t delivered, std::uint64_t dropped) noexcept {
  delivered_.store(delivered, std::memory_order_seq_cst);
  dropped_.store(dropped, std::memory_order_seq_cst);
  if (link_.state == nullptr) return;
  std::atomic<std::uint32_t>& waits = link_.state->publisher_waits;
  if (waits.load(std::memory_order_seq_cst) != 0 && waits.exchange(0, std::memory_order_relaxed) != 0)
    publisher_->ring();
}

// --- The account ------------------------------------------------------------------------------------------------------

void Outlet::count_lost(std::uint64_t messages) noexcept {
  horus::detail::count(refused_, messages);
  memory_.state->refused.store(refused_.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

// Read from other threads too: what was pushed comes last, so that nothing is taken that was not sent.
Outlet::Account Outlet::account() noexcept {
  const LinkState& state = *memory_.state;
  const std::uint64_t far_delivered = far_end != nullptr ? far_end->delivered() : 0;
  const std::uint64_t far_dropped = far_end != nullptr ? far_end->dropped() : 0;
  const std::uint64_t until = state.until.load(std::memory_order_acquire);
  const std::uint64_t dropped = state.dropped.load(std::memory_order_acquire);
  const std::uint64_t taken = state.taken.load(std::memory_order_acquire);
  const std::uint64_t pushed = pushed_.load(std::memory_order_relaxed);
  const std::uint64_t refused = refused_.load(std::memory_order_relaxed);
  if (taken > believed_taken_) believed_taken_ = std::min(taken, pushed - believed_dropped_);
  if (dropped > believed_dropped_) believed_dropped_ = std::min(dropped, pushed - believed_taken_);
  const std::uint64_t position = believed_taken_ + believed_dropped_;
  const std::uint64_t depth = memory_.shape.depth;
  // What waits beyond the queue's depth is lost, unless the subscriber is at it.
  const std::uint64_t oldest = std::max(position, pushed > depth ? pushed - depth : 0);
  const std::uint64_t batch_end = std::clamp(until, position, oldest);
  Account account;
  account.sent = pushed + refused;
  account.queued = pushed - oldest;
  account.dropped = refused + believed_dropped_ + (oldest - batch_end);
  account.in_flight = batch_end - position;
  account.delivered = believed_taken_;
  if (subscriber_closed()) {  // it takes what it has; the publisher does not wait for that
    account.dropped += std::exchange(account.queued, 0) + std::exchange(account.in_flight, 0);
  }
  if (far_end == nullptr) return account;
  account.delivered = std::min(far_delivered, believed_taken_);
  const std::uint64_t lost_there = std::min(far_dropped, believed_taken_ - account.delivered);
  const std::uint64_t under_way = believed_taken_ - account.delivered - lost_there;
  account.dropped += lost_there;
  (far_end->lost() ? account.dropped : account.in_flight) += under_way;
  return account;
}

}  // namespace horus::HORUS_ABI::msg
