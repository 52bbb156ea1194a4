// SPDX-License-Identifier: Apache-2.0
// Waiting until a descriptor is ready, for descriptors that the kernel can poll and Horus has no class for (a GPIO
// line, a CAN socket, a library's own descriptor). One thread; the caller owns the descriptor.
#pragma once

#include <cstdint>

#include <poll.h>

#include <horus/base/result.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

struct PollAwaiter : OperationAwaiter<PollAwaiter> {
  static constexpr const char* kName = "poll";
  PollAwaiter(int descriptor, short events) noexcept : OperationAwaiter(descriptor), events_(events) {}

  void prepare(io_uring_sqe& entry) const noexcept { fill::poll(entry, fd, events_); }
  [[nodiscard]] Result<short> await_resume() const {
    if (result < 0) return failure();
    return static_cast<short>(result);
  }

 private:
  short events_;
};

}  // namespace detail

/// Waits until at least one of `events` (POLLIN, POLLOUT, POLLPRI …) holds for `fd`, and gives those that hold.
///
/// Semantics: one-shot and level-triggered, as poll(2): it completes at once when the state holds already. POLLERR
/// and POLLHUP are always awaited. POLLRDHUP (the peer has shut down its side) is reported only when it is in
/// `events`, although the kernel reports it in any case: the wait then continues, checking again after 1 to 8 ms.
/// Readiness is a hint, since another reader may have been faster: follow it with a non-blocking call, and wait again
/// on EAGAIN. Regular files are always ready. The descriptor must stay open until the wait has ended: close it with
/// `horus::io::close`, which ends the wait with ECANCELED.
/// Errors: EBADF; ECANCELED when the task is asked to stop.
/// Thread safety: the reactor's thread.
/// Example: `auto ready = co_await horus::io::wait_for(line_fd, POLLPRI);`
/// Source: poll(2), io_uring_prep_poll_add(3).
[[nodiscard("co_await it")]] HORUS_API Task<Result<short>> wait_for(int fd, short events);
/// `wait_for(fd, POLLIN)`: bytes, an end of stream (POLLHUP) or an error (POLLERR) can be read.
[[nodiscard("co_await it")]] inline Task<Result<short>> wait_readable(int fd) { return wait_for(fd, POLLIN); }
/// `wait_for(fd, POLLOUT)`: a write would take at least one byte, or fail at once.
[[nodiscard("co_await it")]] inline Task<Result<short>> wait_writable(int fd) {
  return wait_for(fd, POLLOUT);
}

}  // namespace horus::HORUS_ABI::io
