// SPDX-License-Identifier: Apache-2.0
// Interprets io_uring submission entries in user space, over a Provider: the same instruction set, rings and rules as the
// kernel's. One thread, the reactor's. Owns the rings and what waits; buffers belong to the submitters.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <linux/io_uring.h>

#include <horus/io/seam/provider.hpp>
#include <horus/io/seam/ring.hpp>

namespace horus::HORUS_ABI::io {

/// A ring without the kernel's.
///
/// How an entry lives: it is attempted at once; when that would block it waits for the readiness of its descriptor (one
/// level-triggered registration per descriptor, which shrinks only when an event comes that nobody wants), and is
/// attempted again then. What can only block runs on a thread of the provider. "Ready" is not "will not block": an
/// attempt that gives nothing right after its readiness, a few times in a row, rests (kShortestRest_ns, doubled up to
/// kLongestRest_ns) before the next one. A datagram to a full receiver, an error queue that nobody reads.
/// Bounds: what waits is bounded by the reactor's operations in flight; completions that find the ring full are kept
/// (IORING_SQ_CQ_OVERFLOW), and a multishot ends then, so that they too are bounded by what is in flight.
/// A descriptor that is closed with operations on it ends them with -ECANCELED first.
class Interpreter : public Ring {
 public:
  Interpreter(std::uint32_t submission_entries, std::uint32_t completion_entries, Provider& provider);
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;
  /// Takes back the blocking operations that have not started and waits for the others.
  ~Interpreter() override;

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;
  int pollable_fd() noexcept override;
  void clear_pollable() noexcept override {}
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;
  int register_buffers(const iovec* buffers, unsigned count) noexcept override;
  int unregister_buffers() noexcept override;
  void may_be_another(int fd) noexcept override { provider_.may_be_another(fd); }
  int close_descriptor(int fd) noexcept override;
  bool let_go(int fd) noexcept override;

 private:
  // An operation that has not ended with its first attempt.
  struct Pending : BlockingOperation {
    enum class Stage : std::uint8_t {
      waiting,     // for `wanted` on its descriptor
      connecting,  // likewise, to learn how a connect has ended
      retry,       // for the next tick, or for the one behind `due_ns`
      blocking,    // on a thread
      closing,     // a close, for blocking operations on its descriptor
    };
    Stage stage = Stage::waiting;
    bool on_descriptor = false;
    std::uint32_t wanted = 0;  // EPOLL*
    std::uint32_t done = 0;    // bytes
    std::uint32_t empty = 0;   // attempts in a row that gave nothing although it was ready
    std::int64_t last_empty_ns = 0;
    std::int64_t rest_ns = 0;  // the last rest
    std::int64_t due_ns = 0;   // its end; 0: any tick
    std::uint64_t number = 0;  // in the order of submission
    Pending* next_on_fd = nullptr;
    Pending* previous_on_fd = nullptr;
    Pending* next_in_bucket = nullptr;
    Pending* previous_in_bucket = nullptr;
  };
  // What is known about a descriptor number.
  struct Descriptor {
    Pending* first = nullptr;
    Pending* last = nullptr;
    std::uint32_t registered = 0;  // EPOLL* that the provider watches
    std::uint32_t generation = 0;
    DescriptorTraits traits;
    bool drained = false;  // the last read took all there was: wait for readiness before the next attempt
  };
  // io_uring_cqe without its flexible array.
  struct Completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  static_assert(sizeof(Completion) == sizeof(io_uring_cqe));
  struct BufferGroup {
    io_uring_buf_ring* ring;
    std::uint16_t mask;
    std::uint16_t group;
    std::uint16_t head;
  };
  // What an attempt came to.
  struct Outcome {
    enum class Kind : std::uint8_t { ended, wait, connecting, retry, blocking };
    Kind kind = Kind::ended;
    std::int32_t result = 0;
    std::uint32_t flags = 0;   // IORING_CQE_F_*
    std::uint32_t wanted = 0;  // EPOLL*
  };
  static Outcome ended(std::int64_t result, std::uint32_t flags = 0) noexcept;
  static Outcome wait_for(std::uint32_t events) noexcept;

  // interpreter.cpp: rings, waiting, dispatching
  std::uint32_t consume(std::uint32_t to_submit) noexcept;
  void issue(const io_uring_sqe& entry) noexcept;
  int collect(std::int64_t deadline_ns) noexcept;
  void dispatch(int fd, std::uint32_t events) noexcept;
  void take_finished() noexcept;
  void retry_all() noexcept;
  bool attempt_when_ready(Pending& pending) noexcept;
  void complete(const io_uring_sqe& entry, std::int32_t result, std::uint32_t flags) noexcept;
  void post(std::uint64_t user_data, std::int32_t result, std::uint32_t flags) noexcept;
  bool post_more(std::uint64_t user_data, std::int32_t result, std::uint32_t flags) noexcept;
  void flush_overflow() noexcept;
  [[nodiscard]] std::uint32_t ready() const noexcept;

  // interpreter_pending.cpp: operations that wait, and their end
  Descriptor& descriptor(int fd) noexcept;
  bool knows(const io_uring_sqe& entry) noexcept;
  Pending& keep(const io_uring_sqe& entry, std::uint32_t done) noexcept;
  void release(Pending& pending) noexcept;
  void settle(Pending& pending, const Outcome& outcome) noexcept;
  void finish(Pending& pending, std::int32_t result, std::uint32_t flags = 0) noexcept;
  int watch(int fd, std::uint32_t wanted) noexcept;
  void start_blocking(Pending& pending) noexcept;
  void wait_for_tick(Pending& pending) noexcept;
  void rest(Pending& pending, std::int64_t now) noexcept;
  void set_tick() noexcept;
  void tick_within(std::int64_t period) noexcept;
  [[nodiscard]] static std::uint32_t wanted_on(const Descriptor& about) noexcept;
  void leave_retries(Pending& pending) noexcept;
  std::int32_t cancel(const io_uring_sqe& entry) noexcept;
  std::int32_t cancel_one(Pending& pending) noexcept;
  void close(const io_uring_sqe& entry) noexcept;
  void close_now(const io_uring_sqe& entry) noexcept;
  bool end_all_on(int fd) noexcept;
  void stop_watching(int fd) noexcept;
  void close_what_waits() noexcept;
  [[nodiscard]] std::size_t bucket_of(std::uint64_t user_data) const noexcept;

  // interpreter_attempts.cpp: one attempt per instruction
  Outcome attempt(const io_uring_sqe& entry, std::uint32_t& done) noexcept;
  Outcome accept(const io_uring_sqe& entry) noexcept;
  Outcome connect(const io_uring_sqe& entry) noexcept;
  Outcome receive(const io_uring_sqe& entry, std::uint32_t& done) noexcept;
  Outcome receive_into_group(const io_uring_sqe& entry) noexcept;
  Outcome send(const io_uring_sqe& entry, std::uint32_t& done) noexcept;
  Outcome message(const io_uring_sqe& entry, std::uint32_t& done) noexcept;
  Outcome transfer(const io_uring_sqe& entry, std::uint32_t& done) noexcept;
  Outcome poll(const io_uring_sqe& entry) noexcept;
  BufferGroup* group(std::uint16_t number) noexcept;
  [[nodiscard]] bool is_fixed_buffer(const io_uring_sqe& entry) const noexcept;

  [[nodiscard]] bool whim(Provider::Whim which) noexcept { return whimsical_ && provider_.whim(which); }

  Provider& provider_;
  const bool whimsical_;
  std::unique_ptr<io_uring_sqe[]> sqes_;
  std::unique_ptr<Completion[]> cqes_;
  std::uint32_t sq_head_ = 0, sq_tail_ = 0, cq_head_ = 0, cq_tail_ = 0;
  // An enter may produce something at any time: a polling reactor must always call it.
  std::uint32_t sq_flags_ = IORING_SQ_TASKRUN;
  std::vector<Completion> overflow_;
  std::size_t overflow_taken_ = 0;
  std::uint32_t enters_without_poll_ = 0;
  bool embedded_ = false;

  std::vector<Descriptor> descriptors_;  // by number
  std::vector<Pending*> buckets_;        // by user_data
  std::vector<std::unique_ptr<Pending[]>> slabs_;
  std::uint64_t last_number_ = 0;
  Pending* free_ = nullptr;  // linked through next_on_fd
  std::vector<Pending*> retries_;
  std::int64_t tick_ns_ = 0;   // what the provider was told
  std::vector<int> closable_;  // descriptors whose last blocking operation has ended before a close
  std::vector<BufferGroup> groups_;
  std::vector<iovec> fixed_buffers_;
};

}  // namespace horus::HORUS_ABI::io
