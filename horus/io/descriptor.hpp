// SPDX-License-Identifier: Apache-2.0
// An owned file descriptor. It is closed through the reactor, so that no operation ever meets a reused number.
#pragma once

#include <utility>

#include <unistd.h>

#include <horus/base/result.hpp>
#include <horus/io/loop/closer.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {

/// Owns one descriptor. Move-only; belongs to one thread.
///
/// Destroying an open descriptor hands it to the reactor. Operations in flight on its number end with ECANCELED, and
/// then the number is closed; operations on a duplicate continue. With no operation in flight it is closed on the
/// spot, unless the close may take long (a socket that lingers, a serial line) or this turn has already closed many.
/// On a thread without a reactor it is closed at once.
class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  /// The number; -1 when there is none.
  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  /// Gives the descriptor away without closing it.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  /// Closes in the background.
  void reset() noexcept {
    const int fd = release();
    if (fd < 0) return;
    if (Reactor* reactor = Reactor::current()) {
      reactor->close_later(fd);
    } else {
      ::close(fd);
    }
  }

 private:
  int fd_ = -1;
};

namespace detail {

// For what must be done whatever the task is asked: cancelling it has no effect.
template <class Self>
struct UncancellableAwaiter : Operation {
  explicit UncancellableAwaiter(int descriptor) noexcept : Operation(&kKind, descriptor) {}
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    static_cast<void>(suspend(awaiting));
    Reactor::current()->submit(static_cast<Self&>(*this));
  }
  static void prepare_entry(Operation& operation, io_uring_sqe& entry) noexcept {
    static_cast<Self&>(operation).prepare(entry);
  }
  static void keep_going(Waiter&) noexcept {}
  static constexpr OperationKind kKind{{Self::kName, &keep_going, &Operation::describe, nullptr},
                                       &prepare_entry};
};

}  // namespace detail

/// Cancels operations in flight on the descriptor, closes it, and returns the error of the close itself (a full disk
/// may be reported only here). When nothing is in flight and the close takes no time, it completes without a turn of
/// the loop. When the close may take long (a socket that lingers, a serial line), a task that is asked to stop
/// continues with ECANCELED; the descriptor is closed all the same.
inline Task<Result<>> close(Descriptor descriptor) {
  const int fd = descriptor.release();
  if (fd < 0) co_return Error(EBADF, "close");
  auto closed = co_await CloseAwaiter(fd);
  co_return closed;
}

}  // namespace horus::HORUS_ABI::io
