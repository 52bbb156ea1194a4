// SPDX-License-Identifier: Apache-2.0
// The accepting side of a listening socket: one multishot ACCEPT, a bounded queue of accepted descriptors, and a way
// out when descriptors run out. Internal, one thread. It lives until its last kernel operation has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/base/result.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Accepts connections before a task asks for them.
///
/// Semantics: the first `accept` arms it. While `limit` accepted descriptors wait to be taken, accepting pauses and
/// the kernel's backlog holds further connections. (Connections that the kernel accepted before the pause are still
/// queued.) Accepting continues when half of them have been taken.
/// When the process or the system has no descriptor left (EMFILE, ENFILE), a reserve descriptor is given up to accept
/// one connection and close it, so that its peer learns of the refusal. Then accepting rests for kRest.
/// At most one kernel operation is in flight at a time.
class HORUS_API Acceptor : private CompletionHandler,
                           private Timer,
                           public std::enable_shared_from_this<Acceptor> {
 public:
  /// The pause after a shortage of descriptors, before the next attempt.
  static constexpr Duration kRest = std::chrono::milliseconds(10);

  Acceptor(Descriptor listener, std::string name, std::size_t limit);

  /// The next connection; tasks are served in the order in which they asked. Errors: ECANCELED when the task is asked
  /// to stop or the listener is dropped; the kernel's error when accepting is impossible (EINVAL after a shutdown).
  static Task<Result<Descriptor>> accept(std::shared_ptr<Acceptor> self);
  /// Call this when the listener goes away. It closes queued connections, ends waiting tasks with ECANCELED and
  /// returns the listening descriptor.
  Descriptor drop() noexcept;

  [[nodiscard]] int fd() const noexcept { return listener_.get(); }
  [[nodiscard]] std::size_t queued() const noexcept { return queue_.size(); }
  /// Connections that were closed because no descriptor was left.
  [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

 private:
  enum class Step : std::uint8_t {
    idle,       // nothing in the kernel
    accepting,  // the multishot is armed
    freeing,    // no descriptor left: the reserve is being closed
    draining,   // one ACCEPT that uses the reserve's place
    refusing,   // its connection is being closed
    resting,    // a timer runs
  };
  struct Next;

  void completed(std::int32_t result, std::uint32_t flags) noexcept;
  void accepted(std::int32_t result, bool more) noexcept;
  void drained(std::int32_t result) noexcept;
  void deliver(int fd) noexcept;
  void arm_if_wanted() noexcept;
  using Fill = void (*)(io_uring_sqe& entry, int fd) noexcept;
  void start(Step step, Fill fill, int fd) noexcept;
  void relieve(int code) noexcept;
  void rest() noexcept;
  void fail(int code) noexcept;
  void take_reserve() noexcept;

  Reactor& reactor_;
  OwnerThread owner_;
  Descriptor listener_;
  std::string name_;
  std::size_t limit_;
  std::deque<int> queue_;
  horus::detail::WaiterQueue waiters_;
  std::shared_ptr<Acceptor> keep_;  // itself, while the kernel or a timer knows it
  int reserve_ = -1;
  int failure_ = 0;
  Step step_ = Step::idle;
  bool pausing_ = false;  // the multishot's cancellation is under way
  bool dropped_ = false;
  std::uint64_t refused_ = 0;
  horus::detail::QuietLog shortages_;
};

}  // namespace horus::HORUS_ABI::io::detail
