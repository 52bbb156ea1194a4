// SPDX-License-Identifier: Apache-2.0
// The seam's first part: a ring consumes io_uring submission entries and produces completion entries. Everything above it
// (awaitables, scheduler, user code) is the same over every ring. One thread; owned by its Reactor.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <linux/io_uring.h>
#include <sys/uio.h>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// The two rings that a reactor and its Ring share. The reactor writes entries and the submission tail, and reads
/// completions and moves the completion head; the Ring does the other half. Indices run freely; the low bits
/// (`entries` is a power of two) select the slot.
struct Rings {
  io_uring_sqe* sqes = nullptr;
  std::uint32_t sq_entries = 0;
  std::uint32_t* sq_head = nullptr;
  std::uint32_t* sq_tail = nullptr;
  io_uring_cqe* cqes = nullptr;
  std::uint32_t cq_entries = 0;
  std::uint32_t* cq_head = nullptr;
  std::uint32_t* cq_tail = nullptr;
  /// IORING_SQ_CQ_OVERFLOW: completions wait outside the ring; IORING_SQ_TASKRUN: an enter would produce some.
  const std::uint32_t* sq_flags = nullptr;
};

/// The entries that it takes are those of entry.hpp. Anything else completes with -EINVAL.
///
/// IOSQE_ASYNC asks that the call be made on another thread, for files that may keep it waiting; interpreters make
/// calls on files there in any case.
///
/// A SEND with MSG_DONTWAIT | MSG_WAITALL and IOSQE_CQE_SKIP_SUCCESS completes only when it failed or was short.
///
/// Unspecified on purpose: the order of completions of different operations; who wins a cancel against data; when
/// ENOBUFS appears; short sizes. A cancel's own completion may come before its target's.
class HORUS_API Ring {
 public:
  virtual ~Ring();

  [[nodiscard]] const Rings& rings() const noexcept { return rings_; }
  [[nodiscard]] virtual const char* name() const noexcept = 0;

  /// Consumes `to_submit` entries, then waits until `min_complete` completions lie in the ring or `deadline_ns`
  /// (CLOCK_MONOTONIC; kNever: no limit) has come. With min_complete 0 it does not wait, but still produces what is
  /// ready. May return early with nothing. Returns the number of entries consumed, or -errno: EINTR (nothing lost,
  /// call again), EBUSY/EAGAIN (reap completions, call again).
  virtual int enter(std::uint32_t to_submit, std::uint32_t min_complete,
                    std::int64_t deadline_ns) noexcept = 0;

  /// A descriptor that becomes readable when an enter() would produce completions, for embedding in another loop.
  /// -errno when it cannot be made. `clear_pollable()` before the emptiness check that precedes sleeping.
  virtual int pollable_fd() noexcept = 0;
  virtual void clear_pollable() noexcept = 0;

  /// Puts a completion with this user_data and result 0 into the ring, which ends the wait of an enter(). Any thread,
  /// while the ring lives. False: it cannot be done here, or not now; add to an eventfd that the ring reads.
  virtual bool send_completion(std::uint64_t user_data) noexcept;

  /// Provided buffers: `entries` (a power of two) slots of io_uring_buf at `ring`, page-aligned, as group `group`.
  virtual int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                                   std::uint16_t group) noexcept = 0;
  virtual int unregister_buffer_ring(std::uint16_t group) noexcept = 0;
  /// Fixed buffers for READ_FIXED and WRITE_FIXED, replacing earlier ones.
  virtual int register_buffers(const iovec* buffers, unsigned count) noexcept = 0;
  virtual int unregister_buffers() noexcept = 0;

  /// Differs for every ring that this process ever made: tells whose a registered file is.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  /// A hint that only some rings take: keeps `fd` in a table, and gives its place there, which entries may name
  /// with IOSQE_FIXED_FILE instead. The table holds the file open until the place is given back, when no entry can name
  /// it any more. -errno: name the descriptor as ever.
  virtual int register_file(int fd) noexcept;
  virtual void unregister_file(int place) noexcept;
  /// A hint: `fd` may name another file than when it was used last, because somebody closes descriptors without this
  /// ring (another runtime in the process).
  virtual void may_be_another(int fd) noexcept;

  /// Closes a descriptor that nothing waits on. -EBUSY: something works on it by its number; use an entry.
  virtual int close_descriptor(int fd) noexcept;
  /// Another thread is about to close `fd`: keeps nothing of it. False: something works on it by its number; use an
  /// entry.
  virtual bool let_go(int fd) noexcept;

 protected:
  Rings rings_;

 private:
  static std::uint64_t next_id() noexcept;
  const std::uint64_t id_ = next_id();
};

}  // namespace horus::HORUS_ABI::io
