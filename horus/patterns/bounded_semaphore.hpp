// SPDX-License-Identifier: Apache-2.0
// A semaphore that limits the number of its waiters and can be closed: pools and bounded buffers count their places
// with it. One thread. Waiters belong to the frames that wait.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>

#include <horus/base/result.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI::detail {

/// Permits, first come, first served; at most `max_waiters` tasks wait.
///
/// Semantics: a waiter that has received a permit owns it, even when it is asked to stop before it runs again, and
/// must return it. `close()` ends all waits; the destructor closes.
/// Errors of acquire(): EAGAIN (`max_waiters` tasks wait already), kChannelClosed, ECANCELED.
/// Thread safety: one thread.
class BoundedSemaphore {
 public:
  BoundedSemaphore(std::size_t permits, std::size_t max_waiters) noexcept
      : permits_(permits), max_waiters_(max_waiters) {}
  BoundedSemaphore(const BoundedSemaphore&) = delete;
  BoundedSemaphore& operator=(const BoundedSemaphore&) = delete;
  ~BoundedSemaphore() { close(); }

  struct Awaiter : QueuedWaiter {
    explicit Awaiter(BoundedSemaphore& semaphore) noexcept : QueuedWaiter(kKind), semaphore_(semaphore) {}
    bool await_ready() noexcept {
      if (semaphore_.closed_) {
        code_ = kChannelClosed;
      } else if (semaphore_.try_acquire()) {
        code_ = 0;
      } else if (semaphore_.waiting_ >= semaphore_.max_waiters_) {
        code_ = EAGAIN;
      } else {
        return false;
      }
      return true;
    }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      code_ = ECANCELED;  // until somebody says otherwise
      if (!suspend(awaiting)) return refuse();
      semaphore_.enqueue(*this);
    }
    Result<> await_resume() const {
      if (code_ != 0) return Error(code_, "acquire");
      return {};
    }

   private:
    friend class BoundedSemaphore;
    static void cancel(Waiter& waiter) noexcept {
      auto& self = static_cast<Awaiter&>(waiter);
      --self.semaphore_.waiting_;
      QueuedWaiter::cancel(waiter);
    }
    static constexpr WaitKind kKind{.name = "a place", .cancel = &Awaiter::cancel};
    BoundedSemaphore& semaphore_;
    int code_ = 0;
  };

  [[nodiscard]] Awaiter acquire() noexcept { return Awaiter(*this); }
  [[nodiscard]] bool try_acquire() noexcept {
    if (closed_ || permits_ == 0 || waiting_ != 0) return false;
    --permits_;
    return true;
  }
  void release(std::size_t count = 1) noexcept {
    for (; count > 0; --count) {
      if (auto* waiter = waiters_.pop_front()) {
        wake(*waiter, 0);
      } else {
        ++permits_;
      }
    }
  }
  void close() noexcept {
    closed_ = true;
    while (auto* waiter = waiters_.pop_front()) wake(*waiter, kChannelClosed);
  }
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  [[nodiscard]] std::size_t available() const noexcept { return permits_; }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_; }
  [[nodiscard]] std::size_t waiting_high_water() const noexcept { return waiting_high_water_; }

 private:
  void enqueue(Awaiter& waiter) noexcept {
    waiters_.push_back(waiter);
    waiting_high_water_ = std::max(waiting_high_water_, ++waiting_);
  }
  void wake(QueuedWaiter& waiter, int code) noexcept {
    --waiting_;
    static_cast<Awaiter&>(waiter).code_ = code;
    waiter.make_ready();
  }

  WaiterQueue waiters_;
  std::size_t permits_;
  std::size_t max_waiters_;
  std::size_t waiting_ = 0;
  std::size_t waiting_high_water_ = 0;
  bool closed_ = false;
};

}  // namespace horus::HORUS_ABI::detail
