// SPDX-License-Identifier: Apache-2.0
// A counter that one coroutine waits for, and that any thread, signal handler or child process may raise: the bridge
// from foreign threads into a reactor. `set` may be called on any thread, everything else on the reactor's thread.
#pragma once

#include <cerrno>
#include <cstdint>

#include <unistd.h>

#include <horus/base/result.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

struct EventFdAwaiter : OperationAwaiter<EventFdAwaiter> {
  static constexpr const char* kName = "wait for an eventfd";
  explicit EventFdAwaiter(int descriptor) noexcept : OperationAwaiter(descriptor) {}

  void prepare(io_uring_sqe& entry) noexcept { fill::read(entry, fd, &count_, sizeof count_, 0); }
  [[nodiscard]] Result<std::uint64_t> await_resume() const {
    if (result < 0) return failure();
    return count_;
  }

 private:
  std::uint64_t count_ = 0;
};

}  // namespace detail

/// Counts calls of `set` between waits.
///
/// Semantics: `set(n)` adds n. `wait()` takes the whole count, at least 1, and leaves 0. Calls of `set` between two
/// waits add up; none is lost. With several waiters, each count goes to one of them.
/// Errors: the constructor throws Error (EMFILE, ENFILE); a wait gives ECANCELED when the task is asked to stop.
/// Thread safety: `set` from any thread and from signal handlers, while the object lives; the rest on one thread.
/// Example: `auto times = co_await event.wait();`
/// Source: eventfd(2).
class EventFd {
 public:
  /// Starts with the count `initial`.
  explicit EventFd(std::uint32_t initial = 0) {
    // Blocking: the ring would complete a read of a non-blocking descriptor at once.
    System& system = reactor().system();
    const int fd = system.event_fd(initial, 0);
    if (fd < 0) throw Error(-fd, "eventfd");
    descriptor_ = Descriptor(fd);
    if (!system.has_kernel_descriptors()) world_ = &system;
  }

  /// Adds `n`. Wakes the waiter when n is above 0.
  void set(std::uint32_t n = 1) noexcept {
    // 32 bits: four thousand million calls away from a counter that is full.
    if (world_ != nullptr) return world_->add_to_event(descriptor_.get(), n);
    const std::uint64_t addend = n;
    const int saved = errno;
    [[maybe_unused]] const ssize_t written = ::write(descriptor_.get(), &addend, sizeof addend);
    errno = saved;
  }
  /// Waits until the count is above zero, takes it, and leaves zero.
  [[nodiscard]] detail::EventFdAwaiter wait() noexcept { return detail::EventFdAwaiter(descriptor_.get()); }
  /// The descriptor, for other loops and for children. -1 after a move.
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }

 private:
  static Reactor& reactor() {
    Reactor* current = Reactor::current();
    HORUS_ASSERT(current != nullptr, "an EventFd is made on a thread that runs a reactor");
    return *current;
  }
  Descriptor descriptor_;
  System* world_ = nullptr;  // a simulated one, whose descriptors the kernel does not know
};

}  // namespace horus::HORUS_ABI::io
