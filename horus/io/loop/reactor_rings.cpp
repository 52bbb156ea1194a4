// SPDX-License-Identifier: Apache-2.0
// The reactor and its rings: entries go out, completions come in, and what is in flight is known by its descriptor.
#include <cerrno>
#include <ctime>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/log.hpp>
#include <horus/base/pause_cpu.hpp>
#include <horus/io/base/turn.hpp>
#include <horus/io/loop/closer.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/io/seam/buffer_watch.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// Calls of the backend that fail one after the other: so many are not worth a word, and then each is followed by a rest.
constexpr std::uint32_t kFailuresBeforeRest = 8;
constexpr std::int64_t kFailureRest_ns = 1'000'000;
constexpr std::int64_t kFailureTellEvery_ns = 1'000'000'000;
constexpr int kUrgentAttempts = 100;  // with a rest of kFailureRest_ns between them
constexpr int kLooksPerClock = 4;     // within the busy-poll window

void rest_for(std::int64_t duration_ns) noexcept {
  const timespec span{0, duration_ns};
  ::nanosleep(&span, nullptr);
}

}  // namespace

// --- Submit, wait, reap -----------------------------------------------------------------------------------------------

// Waits for a completion, a post, stop() or `deadline_ns`, unless there is something to do already.
void Reactor::submit_and_wait(std::int64_t deadline_ns) noexcept {
  if (closing_) [[unlikely]]
    closing_ = closer_->turn();
  if (!queued_.empty()) refill();
  const bool may_wait =
      deadline_ns > 0 && ready_.empty() && !closing_ && migrations_.empty() && !stop_is_news();
  if (!may_wait) {
    enter(0, 0);
    reap();
    return;
  }
  deadline_ns = std::min(deadline_ns, timers_.next_deadline());
  if (deadline_ns <= 0) {  // before the machine's boot: due, and no time that the backend could wait for
    enter(0, 0);
    reap();
    return;
  }
  // Virtual time passes only while everybody sleeps: who spins for it would spin for ever.
  const bool spins = !nature_.only_asleep && !nature_.no_spinning;
  if (config_.busy_poll > Duration::zero() && spins) {
    if (poll_until(deadline_ns, config_.busy_poll) || current_turn.clock_ns >= deadline_ns) return;
  }
  const bool spin = config_.timer_spin > Duration::zero() && deadline_ns != kNever && spins;
  const std::int64_t wake_at = spin ? deadline_ns - config_.timer_spin.count() : deadline_ns;
  if (!spin || wake_at > now_ns()) sleep_until(wake_at);
  if (spin && ready_.empty()) static_cast<void>(poll_until(deadline_ns, Duration::max()));
}

// The fence pairs with wake_if_asleep(): either the poster sees `asleep_`, or its post is seen here. A signal handler
// that called stop() since the last look has written to the wake descriptor, which is armed.
void Reactor::sleep_until(std::int64_t deadline_ns) noexcept {
  arm_wake();
  asleep_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!must_stay_awake() && !stop_is_news()) {
    const std::int64_t before = now_ns();
    enter(1, deadline_ns);
    const std::int64_t after = now_ns();
    if (!nature_.through_seam) {  // else this reactor's clock is its own
      current_turn.note_clock(after);
      woke_at_ns_ = after;
    }
    horus::detail::count(counters_.asleep_ns, static_cast<std::uint64_t>(after - before));
  } else {
    enter(0, 0);
  }
  asleep_.store(false, std::memory_order_relaxed);
  reap();
}

// The last look before a sleep, after `asleep_` was set: whoever comes later sees it and signals.
bool Reactor::must_stay_awake() noexcept {
  bool come = !mailbox_.empty() || !arrivals_->list_.empty();
  lookouts_.for_each([&](Lookout& lookout) { come = lookout.before_sleep() || come; });
  if (journal_ != nullptr) [[unlikely]]
    return journal_->decide(Journal::Decision::stays_awake, come);
  return come;
}

// Looks for completions, posts and shared memory without sleeping. True when it found something before `until_ns`, and
// before `window` is over, which begins with its first look at the clock.
bool Reactor::poll_until(std::int64_t until_ns, Duration window) noexcept {
  if (sq_tail_ != *rings_.sq_tail) {
    enter(0, 0);
    reap();
  }
  // A look at the clock takes longer than one at a message; who spins for a timer alone wants the clock.
  int looks = 0;
  bool window_began = false;
  while (ready_.empty() && mailbox_.empty() && arrivals_->list_.empty() && !stop_is_news()) {
    const std::uint32_t flags =
        std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
    const bool completed =
        std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) != *rings_.cq_head;
    if (completed || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0) {
      enter(0, 0);
      reap();
      if (!ready_.empty()) break;
    } else {
      horus::detail::pause_cpu();
    }
    if (!lookouts_.empty()) {
      look_out();
      if (++looks % kLooksPerClock != 0) continue;
    }
    const std::int64_t now = now_ns();
    current_turn.note_clock(now);
    woke_at_ns_ = now;  // a few looks ago, when something comes
    if (!std::exchange(window_began, true))
      until_ns = std::min(until_ns, saturating_add(now, window.count()));
    if (now >= until_ns) return !ready_.empty();
  }
  return true;
}

int Reactor::enter(std::uint32_t min_complete, std::int64_t deadline_ns) noexcept {
  const std::uint32_t already = *rings_.sq_tail;
  const std::uint32_t fresh = sq_tail_ - already;
#ifdef HORUS_ASAN
  for (std::uint32_t i = already; i != sq_tail_; ++i) detail::watch_buffers_of(rings_.sqes[i & sq_mask_]);
#endif
  std::atomic_ref(*rings_.sq_tail).store(sq_tail_, std::memory_order_release);
  const std::uint32_t to_submit = sq_tail_ - std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire);
  horus::detail::count(counters_.enters);
  horus::detail::count(counters_.operations, fresh);
  counters_.in_flight.store(in_flight_, std::memory_order_relaxed);
  const int result = ring_->enter(to_submit, min_complete, deadline_ns);
  const std::uint32_t flags =
      std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) [[unlikely]]
    horus::detail::count(counters_.overflows);
  if (result < 0) [[unlikely]] {
    if (result != -EINTR) enter_failed(result, min_complete > 0 ? deadline_ns : 0);
  } else {
    enter_failures_ = 0;
  }
  return result;
}

// EAGAIN, EBUSY, ENOMEM: nothing is lost; the next turn reaps and calls again. Where that goes on, the loop rests a
// little instead of sleeping in the backend, until `rest_until` at most, and says so.
void Reactor::enter_failed(int result, std::int64_t rest_until) noexcept {
  if (result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
    HORUS_ASSERT(
        false, fmt::format("io backend {}: enter failed: {}", ring_->name(), describe_code(-result)).c_str());
  }
  if (++enter_failures_ <= kFailuresBeforeRest) return;
  const std::int64_t now = now_ns();
  if (enter_failure_told_ns_ == 0 || now - enter_failure_told_ns_ >= kFailureTellEvery_ns) {
    enter_failure_told_ns_ = now;
    log_warning(
        fmt::format("reactor: the kernel takes no operations (io backend {}, enter: {}, {} times in a row); "
                    "the loop tries again "
                    "every millisecond{}",
                    ring_->name(), describe_code(-result), enter_failures_,
                    result == -ENOMEM ? " (out of memory? see the container's memory limit)" : ""));
  }
  const bool completed = std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire) != *rings_.cq_head;
  if (completed || nature_.only_asleep) return;
  const std::int64_t rest = std::min(kFailureRest_ns, rest_until - now);
  if (rest > 0) rest_for(rest);
}

void Reactor::reap() noexcept {
  // A handler that submits into a full ring flushes it, and so comes here again: the completions are this call's.
  if (reaping_) return;
  reaping_ = true;
  take_completions();
  settle_immediates();
  reaping_ = false;
}

void Reactor::take_completions() noexcept {
  std::uint32_t head = *rings_.cq_head;
  const std::uint32_t tail = std::atomic_ref(*rings_.cq_tail).load(std::memory_order_acquire);
  if (head == tail) return;
  horus::detail::count(counters_.completions, tail - head);
  for (; head != tail; ++head) {
    const io_uring_cqe& completion = rings_.cqes[head & cq_mask_];
    const std::uint64_t address = completion.user_data & ~std::uint64_t{7};
#ifdef HORUS_ASAN
    detail::check_buffers_of(completion);
#endif
    switch (static_cast<Tag>(completion.user_data & 7)) {
      case Tag::operation: {
        auto& operation = *reinterpret_cast<Operation*>(address);
        tsan_acquire(&operation);
        // Nothing but a cancellation interrupts an operation, also on the kernel's worker threads.
        operation.result = completion.res == -EINTR ? -ECANCELED : completion.res;
        operation.flags = completion.flags;
        operation.state = Operation::State::done;
        --in_flight_;
        InFlightTable::unlink<Operation>(operation);
        operation.unsuspend();
        ready_.push(operation);
        break;
      }
      case Tag::handler: {
        auto& handler = *reinterpret_cast<CompletionHandler*>(address);
        if ((completion.flags & IORING_CQE_F_MORE) == 0) {
          --in_flight_;
          InFlightTable::unlink(handler);
        }
        handler.complete(handler, completion.res, completion.flags);
        break;
      }
      case Tag::ignore: break;
      case Tag::immediate: {
        auto& handler = *reinterpret_cast<CompletionHandler*>(address);
        for (Immediate& immediate : immediates_) {
          if (immediate.handler == &handler) immediate.handler = nullptr;
        }
        handler.complete(handler, completion.res, completion.flags);
        break;
      }
    }
  }
  std::atomic_ref(*rings_.cq_head).store(head, std::memory_order_release);
}

// Entries of this kind have run when the backend has consumed them; those without a completion have succeeded. While
// completions wait outside the ring, nobody can know.
void Reactor::settle_immediates() noexcept {
  if (immediates_.empty()) return;
  const std::uint32_t flags =
      std::atomic_ref(*const_cast<std::uint32_t*>(rings_.sq_flags)).load(std::memory_order_relaxed);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) return;
  const std::uint32_t consumed = std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire);
  // A handler that is told may submit the next one: those stand behind `known`, with an entry not yet consumed.
  const std::size_t known = immediates_.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < known; ++i) {
    const Immediate immediate = immediates_[i];
    if (immediate.handler == nullptr) continue;
    if (static_cast<std::int32_t>(consumed - immediate.submitted_at) < 0) {
      immediates_[kept++] = immediate;
    } else {
      immediate.handler->complete(*immediate.handler, immediate.on_success, 0);
    }
  }
  immediates_.erase(immediates_.begin() + static_cast<std::ptrdiff_t>(kept),
                    immediates_.begin() + static_cast<std::ptrdiff_t>(known));
}

bool Reactor::flush() noexcept {
  for (int attempt = 0; attempt < 16; ++attempt) {
    const int result = enter(0, 0);
    if (sq_tail_ - std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire) < rings_.sq_entries)
      return true;
    if (result == -EINTR) continue;
    reap();
  }
  return false;
}

// --- Operations -------------------------------------------------------------------------------------------------------

void Reactor::enqueue(Operation& operation) noexcept {
  if (in_flight_ >= in_flight_limit_ && counters_.queued.load(std::memory_order_relaxed) == 0) {
    log_warning(
        fmt::format("reactor: {} operations are in flight (ReactorConfig::max_in_flight); further ones wait "
                    "until one of them ends",
                    in_flight_));
  }
  operation.state = Operation::State::queued;
  queued_.push_back(operation);
  note<Operation>(operation, operation.fd);
  horus::detail::count(counters_.queued);
}

// Moves operations that had to wait into the ring, oldest first.
void Reactor::refill() noexcept {
  while (in_flight_ < in_flight_limit_) {
    Operation* operation = queued_.front();
    if (operation == nullptr) return;
    io_uring_sqe* entry = next_entry();
    if (entry == nullptr) return;
    queued_.pop_front();
    std::memset(entry, 0, sizeof *entry);
    static_cast<const OperationKind*>(operation->kind)->prepare(*operation, *entry);
    entry->user_data = operation->user_data();
    operation->state = Operation::State::in_flight;
    ++in_flight_;
    tsan_release(operation);
  }
}

// For entries that must not wait behind others: cancellations, closes, the wake-up.
io_uring_sqe& Reactor::urgent_entry() noexcept {
  io_uring_sqe* entry = next_entry();
  for (int attempt = 0; entry == nullptr && attempt < kUrgentAttempts; ++attempt) {
    rest_for(kFailureRest_ns);
    entry = next_entry();
  }
  HORUS_ASSERT(entry != nullptr, "the backend takes no entries any more");
  std::memset(entry, 0, sizeof *entry);
  return *entry;
}

void Reactor::cancel(Operation& operation) noexcept {
  if (operation.state == Operation::State::queued) {
    static_cast<ListHook<QueuedTag>&>(operation).unlink();
    InFlightTable::unlink(operation);
    operation.refuse(-ECANCELED);
    return;
  }
  if (operation.state != Operation::State::in_flight) return;
  io_uring_sqe& entry = urgent_entry();
  fill::cancel(entry, operation.user_data());
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
}

void Reactor::cancel_handler(CompletionHandler& handler) noexcept {
  io_uring_sqe& entry = urgent_entry();
  fill::cancel(entry, reinterpret_cast<std::uintptr_t>(&handler) | static_cast<std::uint64_t>(Tag::handler));
  entry.user_data = static_cast<std::uint64_t>(Tag::ignore);
}

// False for a number that no descriptor has: such an entry fails by itself.
bool Reactor::makes_place(int fd) noexcept {
  if (system_->status_flags(fd) < 0) return false;
  named_.grow(fd);
  return true;
}

// What was found is in no list any more: the number does not concern it from now on.
std::size_t Reactor::cancel_on(int fd) noexcept {
  std::size_t count = 0;
  for (; Operation* operation = named_.first<Operation>(fd); ++count) {
    InFlightTable::unlink(*operation);
    cancel(*operation);
  }
  for (; CompletionHandler* handler = named_.first<CompletionHandler>(fd); ++count) {
    InFlightTable::unlink(*handler);
    cancel_handler(*handler);
  }
  return count;
}

bool Reactor::names(int fd) const noexcept {
  if (named_.first<Operation>(fd) != nullptr || named_.first<CompletionHandler>(fd) != nullptr) return true;
  for (std::uint32_t i = std::atomic_ref(*rings_.sq_head).load(std::memory_order_acquire); i != sq_tail_;
       ++i) {
    const io_uring_sqe& entry = rings_.sqes[i & sq_mask_];
    if (entry.fd == fd && (entry.flags & IOSQE_FIXED_FILE) == 0) return true;
  }
  return false;
}

void Reactor::close_later(int fd) noexcept {
  if (fd < 0) return;
  closer_->close(fd);
  wake_embedding();
}

void Operation::cancel(Waiter& waiter) noexcept {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "an operation was cancelled from a thread that runs no reactor");
  reactor->cancel(static_cast<Operation&>(waiter));
}

void Operation::describe(const Waiter& waiter, std::string& line) {
  const auto& operation = static_cast<const Operation&>(waiter);
  if (operation.fd >= 0) fmt::format_to(std::back_inserter(line), " (fd {})", operation.fd);
  if (operation.state == State::queued) line += " (queued: too many operations in flight)";
}

}  // namespace horus::HORUS_ABI::io
