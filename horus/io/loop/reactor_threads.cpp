// SPDX-License-Identifier: Apache-2.0
// What other threads and signal handlers may do to a reactor: hand work over, wake it, count what it did.
#include <poll.h>
#include <unistd.h>

#include <horus/base/counter.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>

namespace horus::HORUS_ABI::io {

bool Reactor::post_work(Work work) noexcept {
  if (!mailbox_.try_push(std::move(work))) return false;
  arrivals_->wake_if_asleep();
  return true;
}

// The fence pairs with the one between the loop's `asleep_ = true` and its last look at the mailbox. A completion that says
// nothing ends the sleep: it names no memory, so it may come at any time.
void Arrivals::wake_if_asleep() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!asleep_.load(std::memory_order_relaxed) || !asleep_.exchange(false, std::memory_order_acquire)) return;
  if (generation_ != detail::process_generation()) return;
  if (by_bell_.load(std::memory_order_relaxed) ||
      !ring_->send_completion(static_cast<std::uint64_t>(Tag::ignore)))
    system_->add_to_event(bell_, 1);
}

void Arrivals::complete(RemoteWork& work) noexcept {
  if (journal_ == nullptr || !journal_->comes_back(work)) list_.push(work);
  wake_if_asleep();
  list_.let_go();
}

void Reactor::signal_wake() noexcept { system_->add_to_event(wake_fd_, 1); }

void Reactor::arm_wake() noexcept {
  if (wake_.armed) return;
  wake_.armed = true;
  submit_handler(wake_, [this](io_uring_sqe& entry) {
    if (embedding_) {  // then it is non-blocking, and a read would complete at once
      fill::poll(entry, wake_fd_, POLLIN);
    } else {
      fill::read(entry, wake_fd_, &wake_.count, sizeof wake_.count, 0);
    }
  });
}

// Of an embedded reactor, whose wake-up descriptor does not block.
void Reactor::clear_wake() noexcept {
  [[maybe_unused]] const ssize_t ignored = ::read(wake_fd_, &wake_.count, sizeof wake_.count);
}

Statistics Reactor::statistics() const noexcept {
  const auto read = [](const std::atomic<std::uint64_t>& counter) {
    return counter.load(std::memory_order_relaxed);
  };
  Statistics now;
  now.operations = read(counters_.operations);
  now.enters = read(counters_.enters);
  now.completions = read(counters_.completions);
  now.overflows = read(counters_.overflows);
  now.queued = read(counters_.queued);
  now.resumes = read(counters_.resumes);
  now.posts = read(counters_.posts);
  now.timers = read(counters_.timers);
  now.asleep_ns = static_cast<std::int64_t>(read(counters_.asleep_ns));
  now.in_flight = static_cast<std::uint32_t>(read(counters_.in_flight));
  return now;
}

const std::shared_ptr<Waker>& Reactor::waker() {
  if (!waker_) waker_ = std::make_shared<Waker>(*this);
  return waker_;
}

void Waker::wake() noexcept {
  const std::lock_guard lock(mutex_);
  if (reactor_ != nullptr) reactor_->arrivals_->wake_if_asleep();
}

bool Waker::post(Work work) {
  const std::lock_guard lock(mutex_);
  return reactor_ != nullptr && reactor_->post_work(std::move(work));
}

bool Waker::send(RemoteWork& work) noexcept {
  const std::lock_guard lock(mutex_);
  if (reactor_ == nullptr) return false;
  reactor_->arrivals_->expect();
  reactor_->arrivals_->complete(work);
  return true;
}

}  // namespace horus::HORUS_ABI::io
