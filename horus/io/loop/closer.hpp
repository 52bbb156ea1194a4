// SPDX-License-Identifier: Apache-2.0
// Internal. How descriptors are closed: what names the number is ended first, what may take long leaves the loop, and
// thousands at once are spread over turns. One thread, the reactor's, which owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {
struct ClosingJob;
}

/// Closes what is handed to it.
///
/// Semantics: a descriptor that nothing names and whose close takes no time (System::closing_of) is closed at once, by
/// close(2). Where operations name the number, they are cancelled by their user_data and an entry closes it behind
/// them: entries run in order, so the number is free only when nothing names it. A close that may take long runs on a
/// thread of its own room. At most kPerTurn are begun in a turn; the others wait for the next ones, still open.
class HORUS_API Closer final : public CompletionHandler {
 public:
  static constexpr std::uint32_t kPerTurn = 64;

  explicit Closer(Reactor& reactor) noexcept;
  /// In the background.
  void close(int fd) noexcept;
  /// True when it could be closed on the spot: `result` is close(2)'s, or -errno.
  bool close_at_once(int fd, int& result) noexcept;
  /// Ends what names `fd` and says how it is to be closed. `waiter` (or nobody) learns the result when it takes the
  /// room; `entry` otherwise: the caller submits an IORING_OP_CLOSE.
  detail::ClosingJob* prepare(int fd, class CloseAwaiter* waiter) noexcept;
  /// A turn begins: its share of those that wait. True when some still do.
  bool turn() noexcept;
  [[nodiscard]] bool waiting() const noexcept { return taken_ < waiting_.size(); }

 private:
  void begin(int fd) noexcept;
  void submit(int fd) noexcept;

  Reactor& reactor_;
  std::uint32_t budget_ = kPerTurn;
  std::size_t taken_ = 0;  // of waiting_
  std::vector<int> waiting_;
};

/// `co_await CloseAwaiter(fd)`: as `Closer::close`, with the result of close(2).
class HORUS_API CloseAwaiter : public Operation {
 public:
  explicit CloseAwaiter(int descriptor) noexcept : Operation(&kKind), number_(descriptor) {}
  [[nodiscard]] bool await_ready() noexcept;
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    start(suspend(awaiting));
  }
  void prepare(io_uring_sqe& entry) const noexcept { fill::close(entry, number_); }
  [[nodiscard]] Result<> await_resume() const;

 private:
  friend struct detail::ClosingJob;
  void start(bool may_wait) noexcept;
  static void prepare_entry(Operation& operation, io_uring_sqe& entry) noexcept;
  static void stop_waiting(Waiter& waiter) noexcept;
  static const OperationKind kKind;

  int number_;
  detail::ClosingJob* job_ = nullptr;  // it is on its way to the room, or there
};

}  // namespace horus::HORUS_ABI::io
