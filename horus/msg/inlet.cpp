// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/inlet.hpp>

#include <algorithm>

#include <horus/base/assert.hpp>
#include <horus/msg/outlet.hpp>

namespace horus::msg {
namespace {

constexpr int kTries = 1000;  // against a publisher that overtakes us each time

}  // namespace

Inlet::Inlet(LinkMemory memory, std::shared_ptr<Mapping> slots, std::uint32_t count, std::uint32_t stride,
             std::uint32_t tail_offset, std::uint32_t element_bytes, std::uint32_t max_held,
             std::shared_ptr<Bell> bell, bool same_thread) noexcept
    : memory_(std::move(memory)),
      slots_(std::move(slots)),
      bell_(std::move(bell)),
      count_(count),
      stride_(stride),
      tail_offset_(tail_offset),
      element_bytes_(element_bytes),
      max_held_(max_held),
      same_thread_(same_thread) {}

Inlet::Outcome Inlet::take(Arrival& arrival) noexcept {
  LinkState& state = *memory_.state;
  for (int tries = 0; tries < kTries; ++tries) {
    std::uint64_t number = state.taken.load(std::memory_order_relaxed);
    if (pushed_seen_ - number - 1 >= memory_.depth) {  // nothing that we know of, or we were overtaken
      pushed_seen_ = state.pushed.load(std::memory_order_acquire);
      if (pushed_seen_ == number) return Outcome::none;
      const std::uint64_t waiting = pushed_seen_ - number;
      if (waiting > memory_.depth) continue;
      if (waiting > high_water_.load(std::memory_order_relaxed))
        high_water_.store(waiting, std::memory_order_relaxed);
    }
    if (held_ >= max_held_) return Outcome::too_many_held;
    const Entry entry = memory_.load(number);
    if (same_thread_) {
      state.taken.store(number + 1, std::memory_order_relaxed);
    } else if (!state.taken.compare_exchange_strong(number, number + 1, std::memory_order_seq_cst,
                                                    std::memory_order_relaxed)) {
      continue;  // the publisher replaced it by a newer one
    }
    if (entry.slot >= count_ || entry.tail_bytes > stride_ - tail_offset_ ||
        (element_bytes_ == 0 ? entry.tail_bytes != 0 : entry.tail_bytes % element_bytes_ != 0))
      return Outcome::broken;
    ++held_;
    arrival = {this,       slots_->data() + std::size_t{entry.slot} * stride_,
               entry.slot, entry.tail_bytes,
               number,     entry.stamp_ns};
    tell_room();
    return Outcome::taken;
  }
  return Outcome::none;  // overtaken each time: there is always a newer one, for the next try
}

void Inlet::tell_room() noexcept {
  // In one order with the exchange in take(), and with a publisher that asks and then looks again.
  std::atomic<std::uint32_t>& waits = memory_.state->publisher_waits;
  if (waits.load(std::memory_order_seq_cst) != 0 && waits.exchange(0, std::memory_order_relaxed) != 0)
    bell_->ring();
}

void Inlet::give_back(std::uint32_t slot) noexcept {
  HORUS_ASSERT(held_ > 0, "a sample was given back twice");
  memory_.returns[returned_ & (memory_.return_capacity - 1)].store(slot, std::memory_order_relaxed);
  memory_.state->returned.store(++returned_, std::memory_order_release);
  if (--held_ == 0 && let_go_) end();
}

void Inlet::end() noexcept {
  memory_.state->subscriber_closed.store(2, std::memory_order_release);
  delete this;
}

void Inlet::let_go() noexcept {
  memory_.state->subscriber_closed.store(1, std::memory_order_release);
  memory_.state->publisher_waits.store(0, std::memory_order_relaxed);
  bell_->ring();
  let_go_ = true;
  if (held_ == 0) end();
}

std::uint64_t Inlet::queued() const noexcept {
  const std::uint64_t taken = memory_.state->taken.load(std::memory_order_relaxed);
  return std::min<std::uint64_t>(memory_.state->pushed.load(std::memory_order_relaxed) - taken,
                                 memory_.depth);
}

}  // namespace horus::msg
