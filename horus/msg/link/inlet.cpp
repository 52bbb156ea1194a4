// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/inlet.hpp>

#include <algorithm>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/far_barrier.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/link/clock_offset.hpp>
#include <horus/msg/link/outlet.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::uint64_t kNotWorthAClock = 1U << 20;  // messages; so many do not come from nowhere
constexpr std::uint64_t kLookEvery = 16;  // messages, for the length of a queue that nobody else asks for

std::uint64_t new_serial() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

Duration age_of(std::int64_t stamp_ns) noexcept { return age_at(now_ns(), stamp_ns); }

Duration age_at(std::int64_t time_ns, std::int64_t stamp_ns) noexcept {
  if (stamp_ns == INT64_MIN) return Duration::zero();
  const std::int64_t then = stamp_ns < 0 ? -stamp_ns : stamp_ns;
  return Duration(then < time_ns ? time_ns - then : 0);
}

Inlet::Inlet(LinkMemory memory, std::shared_ptr<const SlotTable> slots, std::uint32_t tail_offset,
             std::uint32_t element_bytes, std::uint32_t max_held, std::shared_ptr<Bell> bell,
             bool same_thread, std::int64_t clock_shift) noexcept
    : memory_(std::move(memory)),
      reader_(memory_.words, memory_.shape.depth, memory_.shape.drops_oldest),
      slots_(std::move(slots)),
      bell_(std::move(bell)),
      tail_offset_(tail_offset),
      element_bytes_(element_bytes),
      max_held_(max_held),
      serial_(new_serial()),
      asked_ns_(now_ns()),
      clock_shift_(clock_shift),
      same_thread_(same_thread),
      admits_(!same_thread && admit_far_barriers()) {
  if (!admits_) return;
  memory_.state->subscriber_admits.store(1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);  // a publisher that asked for room before is seen
}

// --- Messages ---------------------------------------------------------------------------------------------------------

// A publisher that claims to have sent more than one message in each nanosecond makes its subscriber count losses without
// end.
bool Inlet::is_plausible(std::uint64_t pushed, std::uint64_t next) const noexcept {
  if (pushed - next < kNotWorthAClock) return true;
  return pushed < static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns() - asked_ns_, 0));
}

Inlet::Outcome Inlet::take(Arrival& arrival, std::byte* storage) noexcept {
  using Taken = LinkReader<RealAtomics>::Outcome;
  const auto plausible = [this](std::uint64_t pushed) { return is_plausible(pushed, reader_.next()); };
  if (same_thread_ && empty()) return Outcome::none;
  if (is_inline()) {
    switch (reader_.take(storage, arrival.stamp_ns, plausible)) {
      case Taken::none:
      case Taken::later: return Outcome::none;
      case Taken::broken: return Outcome::broken;
      case Taken::taken: break;
    }
    arrival.data = storage;
    arrival.slot = SlotPool::kNone;
    arrival.tail_bytes = 0;
    return taken(arrival);
  }
  if (held_ >= max_held_) return reader_.empty() ? Outcome::none : Outcome::too_many_held;
  SlotMessage message;
  const std::byte* data = nullptr;
  std::uint32_t slot = SlotPool::kNone;
  const auto here = [&](std::uint32_t number) {
    slot = number;
    if (slot >= slots_->slots()) return true;  // which cannot be
    data = slots_->data(slot);
    return data != nullptr || discarding_;
  };
  awaited_ = SlotPool::kNone;
  switch (reader_.take(message, plausible, here)) {
    case Taken::none: return Outcome::none;
    case Taken::later: awaited_ = slot; return Outcome::none;
    case Taken::broken: return Outcome::broken;
    case Taken::taken: break;
  }
  if (message.slot >= slots_->slots() || message.tail_bytes > slots_->stride() - tail_offset_ ||
      (element_bytes_ == 0 ? message.tail_bytes != 0 : message.tail_bytes % element_bytes_ != 0))
    return Outcome::broken;
  ++held_;
  arrival.data = data;
  arrival.slot = message.slot;
  arrival.tail_bytes = message.tail_bytes;
  arrival.stamp_ns = message.stamp_ns;
  return taken(arrival);
}

Inlet::Outcome Inlet::taken(Arrival& arrival) noexcept {
  arrival.inlet = this;
  if (clock_shift_ != 0) [[unlikely]]
    arrival.stamp_ns = shifted(arrival.stamp_ns, clock_shift_, now_ns());
  arrival.number = reader_.next() - 1;
  if (same_thread_ || arrival.number % kLookEvery == 0) {
    const std::uint64_t waited = memory_.state->pushed.load(std::memory_order_relaxed) - arrival.number;
    note_high_water(std::min<std::uint64_t>(waited, memory_.shape.depth));
  }
  publish_position();
  owe_room();
  return Outcome::taken;
}

void Inlet::pass_over_one() noexcept {
  reader_.pass_over_one();
  publish_position();
}

std::uint64_t Inlet::discard() noexcept {
  const std::uint32_t limit = std::exchange(max_held_, held_ + 1);
  discarding_ = true;
  const std::uint64_t until = memory_.state->pushed.load(std::memory_order_acquire);
  std::uint64_t discarded = 0;
  MessageStorage storage;
  Arrival arrival;
  // At most a queue: a publisher that goes on sending, or that lies about how much it has sent, ends this too.
  while (discarded < memory_.shape.depth && reader_.next() != until &&
         take(arrival, storage.bytes) == Outcome::taken) {
    ++discarded;
    arrival.give_back();
  }
  max_held_ = limit;
  discarding_ = false;
  return discarded;
}

// --- Room -------------------------------------------------------------------------------------------------------------

// In one order with the store of `taken`, and with a publisher that asks and then looks again. One that makes a far barrier
// between the two makes it here too. It is woken when half of the queue is free, and else at the end of the stretch: waking
// it for each message would cost more than the messages.
void Inlet::owe_room() noexcept {
  const LinkState& state = *memory_.state;
  if (!same_thread_) {
    if (admits_ && state.publisher_fences.load(std::memory_order_relaxed) != 0) {
      std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
      std::atomic_thread_fence(std::memory_order_seq_cst);
    }
  }
  if (state.publisher_waits.load(std::memory_order_relaxed) == 0) [[likely]]
    return;
  const std::uint64_t pushed = state.pushed.load(std::memory_order_relaxed);
  owes_room_ = true;
  if (same_thread_ || pushed <= reader_.next() + memory_.shape.depth / 2) tell_room();
}

void Inlet::tell_room() noexcept {
  owes_room_ = false;
  std::atomic<std::uint32_t>& waits = memory_.state->publisher_waits;
  if (waits.load(std::memory_order_relaxed) != 0 && waits.exchange(0, std::memory_order_relaxed) != 0)
    bell_->ring();
}

void Inlet::give_back(std::uint32_t slot) noexcept {
  HORUS_ASSERT(held_ > 0, "a sample was given back twice");
  memory_.returns[returned_ & (memory_.return_capacity - 1)].store(slot, std::memory_order_relaxed);
  memory_.state->returned.store(++returned_, std::memory_order_release);
  if (--held_ == 0 && let_go_) end();
}

// --- Its end ----------------------------------------------------------------------------------------------------------

void Inlet::end() noexcept {
  memory_.state->subscriber_closed.store(2, std::memory_order_release);
  bell_->ring();
  delete this;
}

void Inlet::let_go() noexcept {
  memory_.state->subscriber_closed.store(1, std::memory_order_release);
  memory_.state->publisher_waits.store(0, std::memory_order_relaxed);
  let_go_ = true;
  if (held_ == 0) return end();
  bell_->ring();
}

// --- The account ------------------------------------------------------------------------------------------------------

std::uint64_t Inlet::queued() const noexcept {
  const std::uint64_t next = next_.load(std::memory_order_relaxed);
  const std::uint64_t pushed = memory_.state->pushed.load(std::memory_order_relaxed);
  return pushed <= next ? 0 : std::min<std::uint64_t>(pushed - next, memory_.shape.depth);
}

// What waits beyond the queue's depth is lost already, but for the batch that is being taken.
std::uint64_t Inlet::dropped() const noexcept {
  const std::uint64_t next = next_.load(std::memory_order_relaxed);
  const std::uint64_t passed_over = dropped_.load(std::memory_order_relaxed);
  std::uint64_t refused = memory_.state->refused.load(std::memory_order_relaxed);
  if (!is_plausible(refused, 0)) refused = 0;
  if (!takes_batches()) return passed_over + refused;
  const std::uint64_t taken_until = std::max(next, until_.load(std::memory_order_relaxed));
  const std::uint64_t pushed = memory_.state->pushed.load(std::memory_order_relaxed);
  const std::uint64_t depth = memory_.shape.depth;
  const bool behind = pushed > depth && pushed - depth > taken_until && is_plausible(pushed, next);
  return passed_over + refused + (behind ? pushed - depth - taken_until : 0);
}

}  // namespace horus::HORUS_ABI::msg
