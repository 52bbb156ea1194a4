// SPDX-License-Identifier: Apache-2.0
// A file descriptor that is owned, and closed through the reactor so that no operation ever meets a reused number.
#pragma once

#include <utility>

#include <unistd.h>

#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>

namespace horus::io {

/// Owns one descriptor. Move-only; belongs to one thread.
///
/// Destroying an open one hands it to the reactor's closer list: operations in flight on it are cancelled (they end
/// with ECANCELED) and the number is closed after they have ended. On a thread without a reactor it is closed at once.
/// The kernel cancels by open file: closing one of two duplicates also cancels what waits on the other.
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

  /// The number; -1 when it owns none.
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

/// The awaiters behind a closing that is waited for. `co_await horus::io::close(std::move(descriptor))`.
namespace detail {

// Cancelling a close would leak the descriptor, so both steps ignore the wish.
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

struct CancelAllAwaiter : UncancellableAwaiter<CancelAllAwaiter> {
  using UncancellableAwaiter::UncancellableAwaiter;
  static constexpr const char* kName = "close";
  void prepare(io_uring_sqe& entry) const noexcept {
    entry.opcode = IORING_OP_ASYNC_CANCEL;
    entry.fd = fd;
    entry.cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
  }
  void await_resume() const noexcept {}
};

struct CloseAwaiter : UncancellableAwaiter<CloseAwaiter> {
  using UncancellableAwaiter::UncancellableAwaiter;
  static constexpr const char* kName = "close";
  void prepare(io_uring_sqe& entry) const noexcept {
    entry.opcode = IORING_OP_CLOSE;
    entry.fd = fd;
  }
  [[nodiscard]] Result<> await_resume() const {
    if (result < 0) return Error(-result, "close");
    return {};
  }
};

}  // namespace detail

/// Cancels what is in flight on the descriptor, waits for that, closes it, and gives the close's own error (a full
/// disk may speak up only here). Never cancelled itself.
inline Task<Result<>> close(Descriptor descriptor) {
  const int fd = descriptor.release();
  if (fd < 0) co_return Error(EBADF, "close");
  co_await detail::CancelAllAwaiter(fd);
  auto closed = co_await detail::CloseAwaiter(fd);
  co_return closed;
}

}  // namespace horus::io
