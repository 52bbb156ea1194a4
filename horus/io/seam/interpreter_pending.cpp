// SPDX-License-Identifier: Apache-2.0
// Operations that wait: where they are kept, how they end, are cancelled, and what a close does to them.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <horus/io/seam/entry.hpp>
#include <horus/io/seam/interpreter.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::size_t kPendingPerSlab = 64;
constexpr std::int64_t kShortestRest_ns = 1'000'000;
constexpr std::int64_t kLongestRest_ns = 8'000'000;

// Paths name a directory at most, and are not cancelled by it.
bool works_on_descriptor(std::uint8_t opcode) noexcept {
  const Instruction* instruction = instruction_of(opcode);
  const bool on_path = instruction != nullptr &&
                       (instruction->subject == Subject::path || instruction->subject == Subject::two_paths);
  return !on_path && opcode != IORING_OP_CLOSE;
}

}  // namespace

Interpreter::Outcome Interpreter::ended(std::int64_t result, std::uint32_t flags) noexcept {
  return {Outcome::Kind::ended, static_cast<std::int32_t>(result), flags, 0};
}
Interpreter::Outcome Interpreter::wait_for(std::uint32_t events) noexcept {
  return {Outcome::Kind::wait, 0, 0, events};
}

// False for a number that no descriptor has. The table grows for existing descriptors only: its size is bounded by
// RLIMIT_NOFILE, whatever number an entry names.
bool Interpreter::knows(const io_uring_sqe& entry) noexcept {
  if (entry.fd < static_cast<int>(descriptors_.size())) [[likely]]
    return true;
  if (!works_on_descriptor(entry.opcode) && entry.opcode != IORING_OP_CLOSE) return true;
  DescriptorTraits traits;
  if (provider_.classify(entry.fd, traits) < 0) return false;
  descriptor(entry.fd).traits = traits;
  return true;
}

// What is known about the number. Void when somebody has closed it since: another reactor, then.
Interpreter::Descriptor& Interpreter::descriptor(int fd) noexcept {
  const auto index = static_cast<std::size_t>(fd);
  if (index >= descriptors_.size()) [[unlikely]]
    descriptors_.resize(std::max(index + 1, 2 * descriptors_.size()));
  Descriptor& about = descriptors_[index];
  const std::uint32_t generation = provider_.generation(fd);
  if (about.generation != generation) [[unlikely]] {
    about.generation = generation;
    about.registered = 0;
    about.traits = DescriptorTraits();
    about.drained = false;
  }
  return about;
}

std::size_t Interpreter::bucket_of(std::uint64_t user_data) const noexcept {
  return static_cast<std::size_t>((user_data * 0x9E3779B97F4A7C15u) >> 32) & (buckets_.size() - 1);
}

Interpreter::Pending& Interpreter::keep(const io_uring_sqe& entry, std::uint32_t done) noexcept {
  if (free_ == nullptr) {
    auto& slab = slabs_.emplace_back(new Pending[kPendingPerSlab]);
    for (std::size_t i = 0; i < kPendingPerSlab; ++i) {
      slab[i].next_on_fd = free_;
      free_ = &slab[i];
    }
  }
  Pending& pending = *free_;
  free_ = pending.next_on_fd;
  pending.entry = entry;
  pending.done = done;
  pending.wanted = 0;
  pending.empty = 0;
  pending.last_empty_ns = pending.rest_ns = pending.due_ns = 0;
  pending.number = ++last_number_;
  pending.next_on_fd = pending.previous_on_fd = nullptr;
  Pending*& bucket = buckets_[bucket_of(entry.user_data)];
  pending.previous_in_bucket = nullptr;
  pending.next_in_bucket = bucket;
  if (bucket != nullptr) bucket->previous_in_bucket = &pending;
  bucket = &pending;
  pending.on_descriptor = entry.fd >= 0 && works_on_descriptor(entry.opcode);
  if (pending.on_descriptor) {
    Descriptor& about = descriptor(entry.fd);
    pending.previous_on_fd = about.last;
    (about.last != nullptr ? about.last->next_on_fd : about.first) = &pending;
    about.last = &pending;
  }
  return pending;
}

void Interpreter::release(Pending& pending) noexcept {
  if (pending.on_descriptor) {
    Descriptor& about = descriptors_[static_cast<std::size_t>(pending.entry.fd)];
    (pending.previous_on_fd != nullptr ? pending.previous_on_fd->next_on_fd : about.first) =
        pending.next_on_fd;
    (pending.next_on_fd != nullptr ? pending.next_on_fd->previous_on_fd : about.last) =
        pending.previous_on_fd;
  }
  Pending*& bucket = buckets_[bucket_of(pending.entry.user_data)];
  (pending.previous_in_bucket != nullptr ? pending.previous_in_bucket->next_in_bucket : bucket) =
      pending.next_in_bucket;
  if (pending.next_in_bucket != nullptr)
    pending.next_in_bucket->previous_in_bucket = pending.previous_in_bucket;
  pending.next_on_fd = free_;
  free_ = &pending;
}

void Interpreter::finish(Pending& pending, std::int32_t result, std::uint32_t flags) noexcept {
  const int fd = pending.entry.fd;
  const bool was_blocking = pending.stage == Pending::Stage::blocking && pending.on_descriptor;
  complete(pending.entry, result, flags);
  release(pending);
  if (!was_blocking) return;
  // Perhaps the last one that kept a close waiting; not now, somebody may be walking the list.
  for (Pending* other = descriptors_[static_cast<std::size_t>(fd)].first; other != nullptr;
       other = other->next_on_fd) {
    if (other->stage == Pending::Stage::closing) return closable_.push_back(fd);
  }
}

// After an attempt of an operation that is kept.
void Interpreter::settle(Pending& pending, const Outcome& outcome) noexcept {
  using Kind = Outcome::Kind;
  switch (outcome.kind) {
    case Kind::ended: return finish(pending, outcome.result, outcome.flags);
    case Kind::blocking:
      if (pending.done > 0) {  // the rest of a READ or WRITE
        pending.entry.addr += pending.done;
        pending.entry.len -= pending.done;
        if (static_cast<std::int64_t>(pending.entry.off) != -1) pending.entry.off += pending.done;
      }
      return start_blocking(pending);
    case Kind::retry: pending.wanted = EPOLLOUT; return wait_for_tick(pending);
    case Kind::wait:
    case Kind::connecting: break;
  }
  pending.stage = outcome.kind == Kind::wait ? Pending::Stage::waiting : Pending::Stage::connecting;
  pending.wanted = outcome.wanted;
  const int result = watch(pending.entry.fd, outcome.wanted);
  if (result == 0) return;
  // Not a thing to wait for (a device without readiness): a thread may block on it.
  const Instruction* instruction = instruction_of(pending.entry.opcode);
  const bool transfers = instruction->payload != Payload::none && instruction->blocking != nullptr;
  if (result == -EPERM && transfers) return start_blocking(pending);
  finish(pending, pending.done > 0 ? static_cast<std::int32_t>(pending.done) : result);
}

int Interpreter::watch(int fd, std::uint32_t wanted) noexcept {
  Descriptor& about = descriptor(fd);
  if ((about.registered & wanted) == wanted) return 0;
  if (about.registered == 0) wanted |= wanted_on(about);  // it may have been forgotten while others wait
  const int result = provider_.watch(fd, about.registered, about.registered | wanted);
  if (result == 0) about.registered |= wanted;
  return result;
}

void Interpreter::start_blocking(Pending& pending) noexcept {
  pending.wanted = 0;
  pending.stage = Pending::Stage::blocking;
  if (!provider_.start(pending)) wait_for_tick(pending);
}

// What the operations that wait for readiness want of a descriptor.
std::uint32_t Interpreter::wanted_on(const Descriptor& about) noexcept {
  std::uint32_t wanted = 0;
  for (const Pending* pending = about.first; pending != nullptr; pending = pending->next_on_fd) {
    if (pending->stage == Pending::Stage::waiting || pending->stage == Pending::Stage::connecting)
      wanted |= pending->wanted;
  }
  return wanted;
}

void Interpreter::wait_for_tick(Pending& pending) noexcept {
  pending.stage = Pending::Stage::retry;
  pending.due_ns = 0;
  retries_.push_back(&pending);
  tick_within(kShortestRest_ns);
}

void Interpreter::rest(Pending& pending, std::int64_t now) noexcept {
  pending.stage = Pending::Stage::retry;
  pending.rest_ns = std::clamp(2 * pending.rest_ns, kShortestRest_ns, kLongestRest_ns);
  pending.due_ns = now + pending.rest_ns;
  retries_.push_back(&pending);
  tick_within(pending.rest_ns);
}

void Interpreter::leave_retries(Pending& pending) noexcept {
  std::erase(retries_, &pending);
  if (retries_.empty()) set_tick();
}

void Interpreter::tick_within(std::int64_t period) noexcept {
  if (tick_ns_ != 0 && tick_ns_ <= period) return;
  tick_ns_ = period;
  provider_.tick(period);
}

// As often as the most impatient one needs it.
void Interpreter::set_tick() noexcept {
  std::int64_t period = 0;
  for (const Pending* pending : retries_) {
    const std::int64_t wish = pending->due_ns == 0 ? kShortestRest_ns : pending->rest_ns;
    period = period == 0 ? wish : std::min(period, wish);
  }
  if (period == tick_ns_) return;
  tick_ns_ = period;
  provider_.tick(period);
}

// --- Cancelling -------------------------------------------------------------------------------------------------------

std::int32_t Interpreter::cancel(const io_uring_sqe& entry) noexcept {
  constexpr std::uint32_t kAll = IORING_ASYNC_CANCEL_ALL;
  constexpr std::uint32_t kByDescriptor = IORING_ASYNC_CANCEL_FD;
  constexpr std::uint32_t kAny = IORING_ASYNC_CANCEL_ANY;
  const std::uint32_t flags = entry.cancel_flags;
  if ((flags & ~(kAll | kByDescriptor | kAny)) != 0) return -EINVAL;
  if ((flags & kByDescriptor) != 0 && (flags & kAny) != 0) return -EINVAL;
  const bool all = (flags & (kAll | kAny)) != 0;
  std::int32_t count = 0;
  std::int32_t refused = -ENOENT;
  const auto visit = [&](Pending& pending) {  // true: go on
    const std::int32_t result = cancel_one(pending);
    if (result == 0) {
      ++count;
    } else {
      refused = result;
    }
    return all;
  };
  if ((flags & kByDescriptor) != 0) {
    if (entry.fd < 0) return -EBADF;
    for (Pending* pending = descriptor(entry.fd).first; pending != nullptr;) {
      Pending* following = pending->next_on_fd;
      if (!visit(*pending)) break;
      pending = following;
    }
  } else if ((flags & kAny) != 0) {
    // In the order of submission: that of the buckets is the order of addresses, which no two runs share.
    std::vector<std::pair<std::uint64_t, Pending*>> everything;
    for (Pending* pending : buckets_) {
      for (; pending != nullptr; pending = pending->next_in_bucket)
        everything.emplace_back(pending->number, pending);
    }
    std::sort(everything.begin(), everything.end());
    for (const auto& [number, pending] : everything) static_cast<void>(visit(*pending));
  } else {
    for (Pending* pending = buckets_[bucket_of(entry.addr)]; pending != nullptr;) {
      Pending* following = pending->next_in_bucket;
      if (pending->entry.user_data == entry.addr && !visit(*pending)) break;
      pending = following;
    }
  }
  if (all) return count;
  return count > 0 ? 0 : refused;
}

std::int32_t Interpreter::cancel_one(Pending& pending) noexcept {
  switch (pending.stage) {
    case Pending::Stage::closing: return -EALREADY;
    case Pending::Stage::blocking:
      if (pending.entry.opcode == IORING_OP_CLOSE || !provider_.cancel(pending)) return -EALREADY;
      break;
    case Pending::Stage::retry:
      if (pending.entry.opcode == IORING_OP_CLOSE) return -EALREADY;
      leave_retries(pending);
      break;
    case Pending::Stage::waiting:
      if (whim(Provider::Whim::data_before_cancel)) {
        const Outcome outcome = attempt(pending.entry, pending.done);
        if (outcome.kind == Outcome::Kind::ended) {
          finish(pending, outcome.result, outcome.flags);
          return -ENOENT;
        }
      }
      break;
    case Pending::Stage::connecting: break;
  }
  finish(pending, pending.done > 0 ? static_cast<std::int32_t>(pending.done) : -ECANCELED);
  return 0;
}

// --- Closing ----------------------------------------------------------------------------------------------------------

// Nothing above closes a descriptor with operations on it; should it happen, they end before the number can be reused.
void Interpreter::close(const io_uring_sqe& entry) noexcept {
  if (entry.fd < 0) return post(entry.user_data, -EBADF, 0);
  if (end_all_on(entry.fd)) return close_now(entry);
  Pending& pending = keep(entry, 0);
  pending.stage = Pending::Stage::closing;
  pending.on_descriptor = true;
  Descriptor& about = descriptor(entry.fd);
  pending.previous_on_fd = about.last;
  about.last->next_on_fd = &pending;
  about.last = &pending;
}

// True when none is left. One that runs on a thread cannot be called back.
bool Interpreter::end_all_on(int fd) noexcept {
  for (Pending* pending = descriptor(fd).first; pending != nullptr;) {
    Pending* following = pending->next_on_fd;
    static_cast<void>(cancel_one(*pending));
    pending = following;
  }
  return descriptor(fd).first == nullptr;
}

// Explicitly: a copy of the descriptor would keep the registration alive.
void Interpreter::stop_watching(int fd) noexcept {
  Descriptor& about = descriptor(fd);
  if (about.registered != 0) static_cast<void>(provider_.watch(fd, about.registered, 0));
  about.registered = 0;
}

int Interpreter::close_descriptor(int fd) noexcept {
  if (fd >= 0 && static_cast<std::size_t>(fd) < descriptors_.size()) {
    if (!end_all_on(fd)) return -EBUSY;
    stop_watching(fd);
  }
  return provider_.close(fd);
}

bool Interpreter::let_go(int fd) noexcept {
  if (fd >= 0 && static_cast<std::size_t>(fd) < descriptors_.size()) {
    if (!end_all_on(fd)) return false;
    stop_watching(fd);
  }
  provider_.may_be_another(fd);
  return true;
}

void Interpreter::close_now(const io_uring_sqe& entry) noexcept {
  stop_watching(entry.fd);
  // Closing a file may write it back (NFS, FUSE).
  if (descriptor(entry.fd).traits.kind == DescriptorTraits::Kind::file) return start_blocking(keep(entry, 0));
  complete(entry, provider_.close(entry.fd), 0);
}

void Interpreter::close_what_waits() noexcept {
  std::vector<int> due;
  due.swap(closable_);
  for (const int fd : due) {
    Pending* closing = nullptr;
    bool busy = false;
    for (Pending* other = descriptor(fd).first; other != nullptr; other = other->next_on_fd) {
      busy = busy || other->stage != Pending::Stage::closing;
      if (other->stage == Pending::Stage::closing) closing = other;
    }
    if (busy || closing == nullptr) continue;
    const io_uring_sqe entry = closing->entry;
    release(*closing);
    close_now(entry);
  }
}

}  // namespace horus::HORUS_ABI::io
