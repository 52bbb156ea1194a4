// SPDX-License-Identifier: Apache-2.0
// How other processes wake a reactor of this one: an eventfd that they are given, and a task that waits for it. Internal.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/lookout.hpp>
#include <horus/msg/outbox.hpp>
#include <horus/msg/outlet.hpp>

namespace horus::msg {

/// Another process's eventfd, as the bell that it is.
class EventFdBell final : public Bell {
 public:
  /// Takes `fd`. Errors: kBadInput when it is something else, which might block the ringer.
  static Result<std::shared_ptr<Bell>> adopt(int fd);
  explicit EventFdBell(int fd) noexcept : fd_(fd) {}
  ~EventFdBell() override;
  void ring() noexcept override;

 private:
  int fd_;
};

/// An eventfd of ours. While its reactor runs, ringing it makes that reactor look at its subscribers, and its publishers
/// at the room they have.
class WakeSource : public std::enable_shared_from_this<WakeSource> {
 public:
  /// For the reactor behind `waker`. Errors: EMFILE. Any thread.
  static Result<std::shared_ptr<WakeSource>> create(std::shared_ptr<io::Waker> waker);
  WakeSource(int fd, std::shared_ptr<io::Waker> waker) noexcept : fd_(fd), waker_(std::move(waker)) {}
  WakeSource(const WakeSource&) = delete;
  WakeSource& operator=(const WakeSource&) = delete;
  ~WakeSource();

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] const std::shared_ptr<io::Waker>& waker() const noexcept { return waker_; }
  /// A publisher that may wait for room. Any thread.
  void add(const std::shared_ptr<Outbox>& outbox);
  /// A subscriber with a bell, which no reactor looks after. Any thread.
  void add(const std::shared_ptr<Inbox>& inbox);
  /// Ends the task. Any thread.
  void close() noexcept;

 private:
  static Task<> watch(std::shared_ptr<WakeSource> self);

  const int fd_;
  const std::shared_ptr<io::Waker> waker_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::vector<std::weak_ptr<Outbox>> outboxes_;
  std::vector<std::weak_ptr<Inbox>> inboxes_;
};

}  // namespace horus::msg
