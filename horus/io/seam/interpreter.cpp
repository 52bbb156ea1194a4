// SPDX-License-Identifier: Apache-2.0
// Rings, waiting and dispatching, in the order an enter runs them.
#include <horus/io/seam/interpreter.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>

#include <horus/base/assert.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr int kReadyPerWait = 256;
constexpr std::size_t kDescriptorsAtFirst = 64;
// Enters that found completions without looking at readiness: a task whose operations never have to wait must not starve
// those that do.
constexpr std::uint32_t kEntersWithoutPoll = 8;
// Somebody else may have been faster, once or twice; more, one soon after the other, is readiness without progress.
constexpr std::uint32_t kEmptyAttempts = 3;
constexpr std::int64_t kInARow_ns = 1'000'000;

}  // namespace

Interpreter::Interpreter(std::uint32_t submission_entries, std::uint32_t completion_entries,
                         Provider& provider)
    : provider_(provider),
      whimsical_(provider.has_whims()),
      sqes_(new io_uring_sqe[submission_entries]()),
      cqes_(new Completion[completion_entries]()),
      descriptors_(kDescriptorsAtFirst),
      buckets_(completion_entries) {
  rings_.sqes = sqes_.get();
  rings_.sq_entries = submission_entries;
  rings_.sq_head = &sq_head_;
  rings_.sq_tail = &sq_tail_;
  rings_.sq_flags = &sq_flags_;
  rings_.cqes = reinterpret_cast<io_uring_cqe*>(cqes_.get());
  rings_.cq_entries = completion_entries;
  rings_.cq_head = &cq_head_;
  rings_.cq_tail = &cq_tail_;
}

Interpreter::~Interpreter() {
  for (Pending* pending : buckets_) {
    for (; pending != nullptr; pending = pending->next_in_bucket) {
      if (pending->stage == Pending::Stage::blocking) static_cast<void>(provider_.cancel(*pending));
    }
  }
  provider_.wait_until_quiet();
}

int Interpreter::enter(std::uint32_t to_submit, std::uint32_t min_complete,
                       std::int64_t deadline_ns) noexcept {
  if (overflow_taken_ < overflow_.size()) flush_overflow();
  const std::uint32_t consumed = consume(to_submit);
  take_finished();
  const auto result = static_cast<int>(consumed);
  min_complete = std::min(min_complete, rings_.cq_entries);
  const bool enough = ready() >= min_complete;
  if (enough) {
    // The caller has something to do, or is about to ask again: no look at readiness each time.
    if (consumed > 0 && ++enters_without_poll_ < kEntersWithoutPoll) return result;
    enters_without_poll_ = 0;
    static_cast<void>(collect(0));
  }
  while (ready() < min_complete && overflow_taken_ == overflow_.size()) {
    const int found = collect(deadline_ns);
    if (found == -EINTR) return consumed > 0 ? result : -EINTR;
    if (found == 0) break;  // the deadline, or nothing that ends an operation: the caller looks again
    // What is ready need not end anything, for ever.
    if (deadline_ns != kNever && ready() < min_complete && provider_.now_ns() >= deadline_ns) break;
  }
  // What waits outside the ring must stay visible to whoever polls.
  if (embedded_ && overflow_taken_ < overflow_.size()) provider_.ring();
  return result;
}

std::uint32_t Interpreter::consume(std::uint32_t to_submit) noexcept {
  const std::uint32_t head = sq_head_;
  const std::uint32_t count =
      std::min(to_submit, std::atomic_ref(sq_tail_).load(std::memory_order_acquire) - head);
  for (std::uint32_t i = 0; i < count; ++i) issue(sqes_[(head + i) & (rings_.sq_entries - 1)]);
  if (!closable_.empty()) close_what_waits();
  std::atomic_ref(sq_head_).store(head + count, std::memory_order_release);
  return count;
}

void Interpreter::issue(const io_uring_sqe& entry) noexcept {
  constexpr unsigned kFlags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS | IOSQE_ASYNC;
  const bool selects = (entry.flags & IOSQE_BUFFER_SELECT) != 0;
  if ((entry.flags & ~kFlags) != 0 || (selects && entry.opcode != IORING_OP_RECV)) {
    return post(entry.user_data, -EINVAL, 0);
  }
  if (!knows(entry)) return post(entry.user_data, -EBADF, 0);
  switch (entry.opcode) {
    case IORING_OP_NOP: return complete(entry, 0, 0);
    case IORING_OP_ASYNC_CANCEL: return complete(entry, cancel(entry), 0);
    case IORING_OP_SHUTDOWN:
      return complete(entry, provider_.shutdown(entry.fd, static_cast<int>(entry.len)), 0);
    case IORING_OP_CLOSE: return close(entry);
    default: break;
  }
  std::uint32_t done = 0;
  const Outcome outcome = attempt(entry, done);
  if (outcome.kind == Outcome::Kind::ended) return complete(entry, outcome.result, outcome.flags);
  settle(keep(entry, done), outcome);
}

// One look at readiness, waiting until `deadline_ns`. Returns how many things may have moved, or -EINTR.
int Interpreter::collect(std::int64_t deadline_ns) noexcept {
  std::array<Provider::Readiness, kReadyPerWait> ready;
  const int found = provider_.wait(ready.data(), kReadyPerWait, deadline_ns);
  if (found == -EINTR) return found;
  HORUS_ASSERT(found >= 0, "the epoll set cannot be waited for (was its descriptor closed by somebody?)");
  for (int i = 0; i < found; ++i) {
    dispatch(ready[static_cast<std::size_t>(i)].fd, ready[static_cast<std::size_t>(i)].events);
  }
  const std::uint32_t before = cq_tail_;
  take_finished();
  if (!retries_.empty()) retry_all();
  return found + static_cast<int>(cq_tail_ - before);
}

void Interpreter::dispatch(int fd, std::uint32_t events) noexcept {
  constexpr std::uint32_t kAlways = EPOLLERR | EPOLLHUP;
  Descriptor& about = descriptor(fd);
  about.drained = false;
  std::uint32_t matched = 0;
  bool rested = false;
  for (Pending* pending = about.first; pending != nullptr;) {
    Pending* following = pending->next_on_fd;
    using Stage = Pending::Stage;
    const bool waits = pending->stage == Stage::waiting || pending->stage == Stage::connecting;
    if (waits && (events & (pending->wanted | kAlways)) != 0) {
      matched |= pending->wanted | kAlways;
      if (pending->stage == Stage::connecting) {
        finish(*pending, provider_.connect_result(fd));
      } else {
        rested = attempt_when_ready(*pending) || rested;
      }
    }
    pending = following;
  }
  // Level-triggered: an event that nobody wants would come again and again.
  Descriptor& now = descriptors_[static_cast<std::size_t>(fd)];  // accept may have made the table grow
  if ((events & ~matched) == 0 && !rested) return;
  if (now.registered == 0) now.registered = events;  // it was forgotten, and is there after all
  const std::uint32_t wanted = wanted_on(now);
  if (wanted == now.registered) return;
  static_cast<void>(provider_.watch(fd, now.registered, wanted));
  now.registered = wanted;
}

void Interpreter::take_finished() noexcept {
  for (RemoteWork* back = provider_.take_finished(); back != nullptr;) {
    RemoteWork* following = back->next_remote;
    auto& pending = static_cast<Pending&>(static_cast<BlockingOperation&>(*back));
    std::int32_t result = pending.result;
    if (pending.done > 0) result = static_cast<std::int32_t>(pending.done) + std::max(result, 0);
    finish(pending, result);
    back = following;
  }
  if (!closable_.empty()) close_what_waits();
}

// An attempt of an operation whose descriptor is ready, or which has rested. True when it rests (again).
bool Interpreter::attempt_when_ready(Pending& pending) noexcept {
  const std::uint32_t done = pending.done;
  const std::size_t posted = cq_tail_ + overflow_.size();
  const Outcome outcome = attempt(pending.entry, pending.done);
  if (outcome.kind != Outcome::Kind::wait || pending.done != done || posted != cq_tail_ + overflow_.size()) {
    pending.empty = 0;
    pending.rest_ns = 0;
    settle(pending, outcome);
    return false;
  }
  const std::int64_t now = provider_.now_ns();
  pending.empty = now - pending.last_empty_ns < kInARow_ns ? pending.empty + 1 : 1;
  pending.last_empty_ns = now;
  const bool rested = pending.rest_ns > 0;
  pending.wanted = outcome.wanted;
  if (rested ? provider_.poll(pending.entry.fd, outcome.wanted) != 0 : pending.empty > kEmptyAttempts) {
    rest(pending, now);
    return true;
  }
  if (rested) pending.empty = 0;
  pending.rest_ns = 0;
  settle(pending, outcome);
  return false;
}

void Interpreter::retry_all() noexcept {
  std::vector<Pending*> due;
  due.swap(retries_);
  const bool any_rests =
      std::any_of(due.begin(), due.end(), [](const Pending* one) { return one->due_ns != 0; });
  const std::int64_t now = any_rests ? provider_.now_ns() : 0;
  for (Pending* pending : due) {
    if (pending->due_ns > now) {
      retries_.push_back(pending);
    } else if (pending->due_ns != 0) {
      pending->due_ns = 0;
      static_cast<void>(attempt_when_ready(*pending));
    } else if (pending->wanted == 0) {  // it wants a thread
      start_blocking(*pending);
    } else {
      settle(*pending, attempt(pending->entry, pending->done));
    }
  }
  set_tick();
}

// --- The completion ring ----------------------------------------------------------------------------------------------

std::uint32_t Interpreter::ready() const noexcept {
  return cq_tail_ - std::atomic_ref(const_cast<std::uint32_t&>(cq_head_)).load(std::memory_order_acquire);
}

// The end of an operation. With IOSQE_CQE_SKIP_SUCCESS only a failure shows; a whole message that was cut short is one.
void Interpreter::complete(const io_uring_sqe& entry, std::int32_t result, std::uint32_t flags) noexcept {
  if ((entry.flags & IOSQE_CQE_SKIP_SUCCESS) != 0 && result >= 0) [[unlikely]] {
    const bool whole = entry.opcode == IORING_OP_SEND && (entry.msg_flags & MSG_WAITALL) != 0;
    if (!whole || static_cast<std::uint32_t>(result) >= entry.len) return;
  }
  post(entry.user_data, result, flags);
}

void Interpreter::post(std::uint64_t user_data, std::int32_t result, std::uint32_t flags) noexcept {
  if (overflow_taken_ == overflow_.size() && ready() < rings_.cq_entries) [[likely]] {
    cqes_[cq_tail_ & (rings_.cq_entries - 1)] = {user_data, result, flags};
    std::atomic_ref(cq_tail_).store(cq_tail_ + 1, std::memory_order_release);
    return;
  }
  overflow_.push_back({user_data, result, flags});
  std::atomic_ref(sq_flags_).store(IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW, std::memory_order_relaxed);
}

// A completion of a multishot that goes on. False when the ring is full: then this must be its last one.
bool Interpreter::post_more(std::uint64_t user_data, std::int32_t result, std::uint32_t flags) noexcept {
  if (overflow_taken_ < overflow_.size() || ready() >= rings_.cq_entries) return false;
  if (whim(Provider::Whim::end_multishot)) return false;
  post(user_data, result, flags | IORING_CQE_F_MORE);
  return true;
}

void Interpreter::flush_overflow() noexcept {
  while (overflow_taken_ < overflow_.size() && ready() < rings_.cq_entries) {
    cqes_[cq_tail_ & (rings_.cq_entries - 1)] = overflow_[overflow_taken_++];
    std::atomic_ref(cq_tail_).store(cq_tail_ + 1, std::memory_order_release);
  }
  if (overflow_taken_ < overflow_.size()) return;
  overflow_.clear();
  overflow_taken_ = 0;
  std::atomic_ref(sq_flags_).store(IORING_SQ_TASKRUN, std::memory_order_relaxed);
}

// --- Registrations ----------------------------------------------------------------------------------------------------

int Interpreter::pollable_fd() noexcept {
  embedded_ = true;
  return provider_.pollable_fd();
}

int Interpreter::register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                                      std::uint16_t number) noexcept {
  if (ring == nullptr || entries == 0 || entries > 32768 || (entries & (entries - 1)) != 0) return -EINVAL;
  if ((reinterpret_cast<std::uintptr_t>(ring) & 4095) != 0) return -EINVAL;
  if (group(number) != nullptr) return -EEXIST;
  groups_.push_back({ring, static_cast<std::uint16_t>(entries - 1), number, 0});
  return 0;
}

int Interpreter::unregister_buffer_ring(std::uint16_t number) noexcept {
  const auto same = [number](const BufferGroup& known) { return known.group == number; };
  return std::erase_if(groups_, same) > 0 ? 0 : -ENOENT;
}

int Interpreter::register_buffers(const iovec* buffers, unsigned count) noexcept {
  if (!fixed_buffers_.empty()) return -EBUSY;
  if (count == 0) return -EINVAL;
  fixed_buffers_.assign(buffers, buffers + count);
  return 0;
}

int Interpreter::unregister_buffers() noexcept {
  if (fixed_buffers_.empty()) return -ENXIO;
  fixed_buffers_.clear();
  return 0;
}

}  // namespace horus::HORUS_ABI::io
