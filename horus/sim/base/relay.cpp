// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/relay.hpp>

#include <algorithm>
#include <atomic>
#include <utility>

namespace horus::HORUS_ABI::sim {

RelayRing::RelayRing(std::shared_ptr<io::Ring> real)
    : ForwardingRing(std::move(real)),
      sqes_(new io_uring_sqe[rings_.sq_entries]()),
      cqes_(new Completion[rings_.cq_entries]()) {
  rings_.sqes = sqes_.get();
  rings_.sq_head = &sq_head_;
  rings_.sq_tail = &sq_tail_;
  rings_.cqes = reinterpret_cast<io_uring_cqe*>(cqes_.get());
  rings_.cq_head = &cq_head_;
  rings_.cq_tail = &cq_tail_;
  rings_.sq_flags = &sq_flags_;
}

void RelayRing::submitting(io_uring_sqe&) noexcept {}
void RelayRing::completing(std::vector<Completion>&) noexcept {}
std::int64_t RelayRing::next_due() const noexcept { return kNever; }

int RelayRing::enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept {
  take_over();
  stage(to_submit);
  const std::uint32_t wanted = cq_tail_ - cq_head_ >= min_complete ? 0 : 1;
  const int result = real().enter(staged_ + own_, wanted, std::min(deadline_ns, next_due()));
  const std::uint32_t taken = count_taken();
  take_over();
  if (own_ > 0) {  // asked for by what has just completed: nobody else would call again for it
    static_cast<void>(real().enter(staged_ + own_, 0, 0));
    static_cast<void>(count_taken());
    take_over();
  }
  return result < 0 && taken == 0 ? result : static_cast<int>(taken);
}

// Copies entries into the real ring. Those that it did not take the last time still lie there.
void RelayRing::stage(std::uint32_t to_submit) noexcept {
  const io::Rings& real = this->real().rings();
  std::uint32_t tail = *real.sq_tail;
  while (own_ == 0 && staged_ < to_submit && staged_ < real.sq_entries && sq_head_ + staged_ != sq_tail_) {
    io_uring_sqe& entry = real.sqes[tail++ & (real.sq_entries - 1)];
    entry = sqes_[(sq_head_ + staged_) & (rings_.sq_entries - 1)];
    ++staged_;
    submitting(entry);
  }
  std::atomic_ref(*real.sq_tail).store(tail, std::memory_order_release);
}

bool RelayRing::submit_own(const io_uring_sqe& entry) noexcept {
  const io::Rings& real = this->real().rings();
  if (staged_ + own_ >= real.sq_entries) return false;
  const std::uint32_t tail = *real.sq_tail;
  real.sqes[tail & (real.sq_entries - 1)] = entry;
  std::atomic_ref(*real.sq_tail).store(tail + 1, std::memory_order_release);
  ++own_;
  return true;
}

std::uint32_t RelayRing::count_taken() noexcept {
  const io::Rings& real = this->real().rings();
  const std::uint32_t left = *real.sq_tail - std::atomic_ref(*real.sq_head).load(std::memory_order_acquire);
  const std::uint32_t gone = staged_ + own_ - left;
  // The real backend takes them in order: own ones that were submitted while others lay there come after those.
  const std::uint32_t taken = std::min(gone, staged_);
  staged_ -= taken;
  own_ -= gone - taken;
  std::atomic_ref(sq_head_).store(sq_head_ + taken, std::memory_order_release);
  return taken;
}

// Moves completions from the real ring to the reactor's.
void RelayRing::take_over() noexcept {
  const io::Rings& real = this->real().rings();
  seen_.swap(kept_);
  std::uint32_t head = *real.cq_head;
  const std::uint32_t tail = std::atomic_ref(*real.cq_tail).load(std::memory_order_acquire);
  batch_.clear();
  for (; head != tail; ++head) {
    const io_uring_cqe& from = real.cqes[head & (real.cq_entries - 1)];
    batch_.push_back({from.user_data, from.res, from.flags});
  }
  std::atomic_ref(*real.cq_head).store(head, std::memory_order_release);
  sq_flags_ = *real.sq_flags;
  behind_ = (sq_flags_ & IORING_SQ_CQ_OVERFLOW) != 0;
  completing(batch_);
  if (seen_.empty()) {
    seen_.swap(batch_);
  } else {
    seen_.insert(seen_.end(), batch_.begin(), batch_.end());
  }
  std::size_t passed = 0;
  for (; passed < seen_.size() && room() > 0; ++passed) {
    cqes_[cq_tail_ & (rings_.cq_entries - 1)] = seen_[passed];
    std::atomic_ref(cq_tail_).store(cq_tail_ + 1, std::memory_order_release);
  }
  kept_.assign(seen_.begin() + static_cast<std::ptrdiff_t>(passed), seen_.end());
  seen_.clear();
  behind_ = !kept_.empty() || (sq_flags_ & IORING_SQ_CQ_OVERFLOW) != 0;
  if (behind_ || next_due() != kNever) sq_flags_ |= IORING_SQ_CQ_OVERFLOW;
}

}  // namespace horus::HORUS_ABI::sim
