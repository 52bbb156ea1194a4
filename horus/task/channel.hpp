// SPDX-License-Identifier: Apache-2.0
// Channel<T>: a bounded queue between coroutines of one thread. Senders wait when it is full, receivers when it is
// empty. Not thread-safe: across threads use Reactor::post.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/result.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI {

/// A bounded first-in first-out queue of T with awaitable ends.
///
/// Semantics: after `close()`, sends fail (kChannelClosed). Queued values are still received; then receivers get
/// kChannelClosed. A value is delivered exactly once or stays queued: a receiver that is cancelled before a value has
/// reached it takes nothing.
/// Thread safety: one thread.
template <class T>
class Channel {
 public:
  /// Senders wait when `capacity` values are queued; at least 1.
  explicit Channel(std::size_t capacity) : capacity_(capacity) {
    HORUS_ASSERT(capacity > 0, "a Channel needs a capacity of at least 1");
  }

  struct SendAwaiter : detail::QueuedWaiter {
    SendAwaiter(Channel& channel, T value)
        : QueuedWaiter(kKind), channel_(channel), value_(std::move(value)) {}
    bool await_ready() noexcept { return channel_.closed_ || channel_.offer(value_); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      waited_ = true;
      if (!suspend(awaiting)) return refuse();
      channel_.senders_.push_back(*this);
    }
    Result<> await_resume() const {
      if (cancelled) return Error(ECANCELED, "send");
      if (waited_ ? !accepted_ : channel_.closed_) return Error(kChannelClosed, "send");
      return {};
    }

   private:
    friend class Channel;
    static constexpr WaitKind kKind{.name = "room in a channel", .cancel = &QueuedWaiter::cancel};
    Channel& channel_;
    T value_;
    bool waited_ = false;
    bool accepted_ = false;
  };

  struct ReceiveAwaiter : detail::QueuedWaiter {
    explicit ReceiveAwaiter(Channel& channel) noexcept : QueuedWaiter(kKind), channel_(channel) {}
    bool await_ready() {
      value_ = channel_.try_recv();
      return value_.has_value() || channel_.closed_;
    }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) return refuse();
      channel_.receivers_.push_back(*this);
    }
    Result<T> await_resume() {
      if (value_) return std::move(*value_);
      return Error(cancelled ? ECANCELED : static_cast<int>(kChannelClosed), "recv");
    }

   private:
    friend class Channel;
    static constexpr WaitKind kKind{.name = "a channel", .cancel = &QueuedWaiter::cancel};
    Channel& channel_;
    std::optional<T> value_;
  };

  /// Queues `value`, waiting for room. Errors: kChannelClosed, ECANCELED.
  [[nodiscard]] SendAwaiter send(T value) { return SendAwaiter(*this, std::move(value)); }
  /// The next value. Errors: kChannelClosed once closed and empty, ECANCELED.
  [[nodiscard]] ReceiveAwaiter recv() noexcept { return ReceiveAwaiter(*this); }
  /// Queues `value` if there is room now. False when full or closed.
  [[nodiscard]] bool try_send(T value) { return !closed_ && offer(value); }
  /// The next value if there is one now.
  std::optional<T> try_recv() {
    if (queue_.empty()) return std::nullopt;
    std::optional<T> value(std::move(queue_.front()));
    queue_.pop_front();
    if (auto* waiter = senders_.pop_front()) {
      auto* sender = static_cast<SendAwaiter*>(waiter);
      queue_.push_back(std::move(sender->value_));
      sender->accepted_ = true;
      sender->wake();
    }
    return value;
  }
  void close() noexcept {
    closed_ = true;
    while (auto* waiter = senders_.pop_front()) waiter->wake();
    while (auto* waiter = receivers_.pop_front()) waiter->wake();
  }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t size() const noexcept { return queue_.size(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  bool offer(T& value) {
    if (auto* waiter = receivers_.pop_front()) {
      static_cast<ReceiveAwaiter*>(waiter)->value_.emplace(std::move(value));
      waiter->wake();
      return true;
    }
    if (queue_.size() >= capacity_) return false;
    queue_.push_back(std::move(value));
    return true;
  }

  std::deque<T> queue_;
  detail::WaiterQueue senders_;
  detail::WaiterQueue receivers_;
  std::size_t capacity_;
  bool closed_ = false;
};

}  // namespace horus::HORUS_ABI
