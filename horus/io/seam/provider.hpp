// SPDX-License-Identifier: Apache-2.0
// What the interpreter of submission entries needs from a world: attempts that never block, readiness, waiting, and
// threads for what can only block. The kernel under epoll is one such world; a simulated one is another.
// One thread, the interpreter's, except where said.
#pragma once

#include <cstddef>
#include <cstdint>

#include <linux/io_uring.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <horus/base/export.hpp>
#include <horus/io/base/remote.hpp>
#include <horus/io/base/thread_pool.hpp>

namespace horus::HORUS_ABI::io {

/// What a descriptor is, as far as the way to use it without blocking depends on that.
struct DescriptorTraits {
  enum class Kind : std::uint8_t {
    unknown,
    socket,   ///< MSG_DONTWAIT
    stream,   ///< pipe, terminal: readiness, then an attempt
    counter,  ///< eventfd, timerfd, signalfd, pidfd: as a stream, empty after each read
    device,   ///< character device
    file,     ///< regular file, directory, block device: a thread when the page cache has no answer
  };
  Kind kind = Kind::unknown;
  bool nonblocking = false;  ///< O_NONBLOCK is set
  bool direct = false;       ///< O_DIRECT is set: the page cache is of no use
  bool read_waits = false;   ///< RWF_NOWAIT does not work for reading from it
  bool write_waits = false;  ///< nor for writing to it
};

class Provider;

/// An entry that runs on a thread. It must stay where it is until it has come back or was cancelled.
struct BlockingOperation : ThreadPool::Job, RemoteWork {
  io_uring_sqe entry{};
  std::int32_t result = 0;
  Provider* provider = nullptr;
};

/// A world for the interpreter. Every call gives ≥ 0, or -errno; an attempt that would block gives -EAGAIN.
class HORUS_API Provider {
 public:
  struct Readiness {
    int fd;
    std::uint32_t events;  ///< EPOLL*
  };

  /// What the seam leaves open, for a world that decides it by chance (ring.hpp: unspecified on purpose).
  enum class Whim : std::uint8_t {
    end_multishot,       ///< this completion of a multishot is its last one
    no_buffers,          ///< a receive finds no provided buffer
    data_before_cancel,  ///< what lies there wins against the cancellation that has come
  };

  virtual ~Provider();

  /// Asked once: whether `whim` is ever to be asked.
  [[nodiscard]] virtual bool has_whims() const noexcept { return false; }
  virtual bool whim(Whim) noexcept { return false; }

  virtual int classify(int fd, DescriptorTraits& traits) noexcept = 0;
  // Attempts.
  virtual ssize_t receive(int fd, void* data, std::size_t size, int flags) noexcept = 0;
  virtual ssize_t send(int fd, const void* data, std::size_t size, int flags) noexcept = 0;
  virtual ssize_t receive_message(int fd, msghdr& message, int flags) noexcept = 0;
  virtual ssize_t send_message(int fd, const msghdr& message, int flags) noexcept = 0;
  /// `offset` -1: the current position. A file gives -EAGAIN when only a thread can answer.
  virtual ssize_t read(int fd, const iovec* parts, int count, std::int64_t offset,
                       DescriptorTraits& traits) noexcept = 0;
  virtual ssize_t write(int fd, const iovec* parts, int count, std::int64_t offset,
                        DescriptorTraits& traits) noexcept = 0;
  virtual int accept(int fd, sockaddr* address, socklen_t* size, int flags,
                     const DescriptorTraits& traits) noexcept = 0;
  /// -EINPROGRESS: writable when it has ended, then `connect_result`. -EAGAIN: try again a little later.
  virtual int connect(int fd, const sockaddr* address, socklen_t size) noexcept = 0;
  virtual int connect_result(int fd) noexcept = 0;
  /// The events among `events` (and error, hang-up) that hold now; 0: none.
  virtual int poll(int fd, std::uint32_t events) noexcept = 0;
  virtual int shutdown(int fd, int how) noexcept = 0;
  /// Closes at once. (A blocking operation IORING_OP_CLOSE does so on a thread.)
  virtual int close(int fd) noexcept = 0;

  // Readiness: level-triggered, one registration per descriptor.
  /// Changes what is watched on `fd` from `before` to `after` (0: nothing). -EPERM: such descriptors cannot be watched.
  virtual int watch(int fd, std::uint32_t before, std::uint32_t after) noexcept = 0;
  /// How many descriptors with this number were closed so far, possibly by other threads: what was known about the
  /// number, its registration too, is void when this has changed.
  virtual std::uint32_t generation(int fd) noexcept = 0;
  /// The number may name another file from now on.
  virtual void may_be_another(int fd) noexcept { static_cast<void>(fd); }
  /// Waits until `deadline_ns` (CLOCK_MONOTONIC; 0: not at all; kNever) for something: the number of descriptors that
  /// are ready. 0 also when blocking operations have come back or a retry is due. -EINTR.
  virtual int wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept = 0;
  /// Makes `wait` return about once per `period_ns`; 0: no more.
  virtual void tick(std::int64_t period_ns) noexcept = 0;
  /// A descriptor that is readable when `wait` has something, and a way to make it so.
  virtual int pollable_fd() noexcept = 0;
  virtual void ring() noexcept = 0;

  // Blocking operations.
  /// False: too many wait already; try again later.
  virtual bool start(BlockingOperation& operation) noexcept = 0;
  /// True: it had not started and never will.
  virtual bool cancel(BlockingOperation& operation) noexcept = 0;
  /// Waits until no thread touches any operation any more.
  virtual void wait_until_quiet() noexcept = 0;
  /// CLOCK_MONOTONIC, nanoseconds.
  [[nodiscard]] virtual std::int64_t now_ns() noexcept = 0;
  /// Those that have come back, linked through `next_remote`.
  virtual RemoteWork* take_finished() noexcept = 0;
};

/// Runs the entry with blocking calls, on any thread: the result of its completion.
std::int32_t perform_blocking(const io_uring_sqe& entry) noexcept;

}  // namespace horus::HORUS_ABI::io
