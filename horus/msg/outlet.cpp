// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/outlet.hpp>

#include <algorithm>
#include <bit>
#include <utility>

#include <horus/base/far_barrier.hpp>
#include <horus/msg/inbox.hpp>

namespace horus::msg {
namespace {

constexpr int kPatience = 32;  // pauses of the CPU, about a microsecond

void pause_cpu() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr std::size_t aligned(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

}  // namespace

std::size_t LinkMemory::bytes_for(std::uint32_t depth, std::uint32_t slots) noexcept {
  return sizeof(LinkState) + aligned(std::size_t{16} * std::bit_ceil(depth)) +
         aligned(std::size_t{4} * std::bit_ceil(slots));
}

LinkMemory LinkMemory::over(std::shared_ptr<Mapping> memory, std::uint32_t depth,
                            std::uint32_t slots) noexcept {
  LinkMemory link;
  link.depth = depth;
  link.capacity = std::bit_ceil(depth);
  link.return_capacity = std::bit_ceil(slots);
  std::byte* at = memory->data();
  link.state = reinterpret_cast<LinkState*>(at);
  at += sizeof(LinkState);
  link.entries = reinterpret_cast<std::atomic<std::uint64_t>*>(at);
  at += aligned(std::size_t{16} * link.capacity);
  link.returns = reinterpret_cast<std::atomic<std::uint32_t>*>(at);
  link.memory = std::move(memory);
  return link;
}

Outlet::Outlet(LinkMemory memory, Overflow overflow, std::shared_ptr<Bell> bell, Inbox* neighbour)
    : memory_(std::move(memory)),
      overflow_(overflow),
      bell_(std::move(bell)),
      neighbour_(neighbour),
      slots_(memory_.return_capacity),
      queue_(memory_.capacity),
      marks_((slots_ + 63) / 64) {
  if (neighbour_ == nullptr && admit_far_barriers())
    memory_.state->publisher_admits.store(1, std::memory_order_relaxed);
}

Outlet::Outcome Outlet::push(const Entry& entry, std::uint32_t& victim) noexcept {
  LinkState& state = *memory_.state;
  Outcome outcome = Outcome::queued;
  bool waited = false;
  if (pushed_ - taken_seen_ >= memory_.depth) [[unlikely]]
    taken_seen_ = state.taken.load(std::memory_order_acquire);
  while (pushed_ - taken_seen_ >= memory_.depth) [[unlikely]] {
    // A subscriber that claims to have taken what was never sent harms only itself: this reads as full.
    if (overflow_ == Overflow::drop_newest || pushed_ - taken_seen_ > memory_.depth) {
      horus::detail::count(state.refused);
      return Outcome::refused;
    }
    // A subscriber elsewhere that is about to take the oldest gets a moment to do so: a publisher that does nothing but
    // send would overtake it again and again.
    if (neighbour_ == nullptr && !std::exchange(waited, true)) {
      for (int i = 0; i < kPatience; ++i) pause_cpu();
      taken_seen_ = state.taken.load(std::memory_order_acquire);
      continue;
    }
    if (!state.taken.compare_exchange_strong(taken_seen_, taken_seen_ + 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire))
      continue;  // the subscriber took it meanwhile
    const std::uint32_t oldest = queue_[taken_seen_ & (memory_.capacity - 1)];
    ++taken_seen_;
    horus::detail::count(state.overwritten);
    // One that is not marked came back already: the subscriber turned its counter back, and harms only itself.
    if (!unmark(oldest)) continue;
    victim = oldest;
    outcome = Outcome::overwrote;
  }
  queue_[pushed_ & (memory_.capacity - 1)] = entry.slot;
  marks_[entry.slot / 64] |= std::uint64_t{1} << (entry.slot % 64);
  memory_.store(pushed_, entry);
  state.pushed.store(++pushed_, std::memory_order_release);
  return outcome;
}

void Outlet::notify() noexcept {
  if (neighbour_ != nullptr) return neighbour_->arrived();
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
  memory_.state->publisher_closed.store(1, std::memory_order_release);
  if (neighbour_ == nullptr) {
    memory_.state->subscriber_asleep.store(0, std::memory_order_relaxed);
    bell_->ring();
  } else if (!subscriber_closed()) {
    neighbour_->arrived();
  }
}

// Read from other threads too: in an order in which what is subtracted is never the newer one.
Outlet::Account Outlet::account() const noexcept {
  Account account;
  const std::uint64_t far_delivered = far_end != nullptr ? far_end->delivered() : 0;
  const std::uint64_t far_dropped = far_end != nullptr ? far_end->dropped() : 0;
  const std::uint64_t overwritten = memory_.state->overwritten.load(std::memory_order_acquire);
  const std::uint64_t taken = memory_.state->taken.load(std::memory_order_acquire);
  const std::uint64_t pushed = memory_.state->pushed.load(std::memory_order_acquire);
  const std::uint64_t refused = memory_.state->refused.load(std::memory_order_relaxed);
  account.sent = pushed + refused;
  account.dropped = overwritten + refused;
  account.queued = std::min<std::uint64_t>(pushed - taken, memory_.depth);
  const std::uint64_t gone = account.sent - account.dropped - account.queued;  // taken by the subscriber
  if (far_end == nullptr) {
    account.delivered = gone;
    return account;
  }
  account.delivered = std::min(far_delivered, gone);
  const std::uint64_t lost_there = std::min(far_dropped, gone - account.delivered);
  account.dropped += lost_there;
  account.in_flight = gone - account.delivered - lost_there;
  if (far_end->lost()) account.dropped += std::exchange(account.in_flight, 0);
  return account;
}

void FarEnd::settle(std::uint64_t delivered, std::uint64_t dropped) noexcept {
  delivered_.store(delivered, std::memory_order_seq_cst);
  dropped_.store(dropped, std::memory_order_seq_cst);
  if (link_.state == nullptr) return;
  std::atomic<std::uint32_t>& waits = link_.state->publisher_waits;
  if (waits.load(std::memory_order_seq_cst) != 0 && waits.exchange(0, std::memory_order_relaxed) != 0)
    publisher_->ring();
}

}  // namespace horus::msg
