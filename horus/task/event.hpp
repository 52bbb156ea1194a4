// SPDX-License-Identifier: Apache-2.0
// Waiting for other coroutines of the same thread: Event, Semaphore, Mutex, yield, stop requests. None of them is
// thread-safe: across threads use Reactor::post.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/error.hpp>
#include <horus/base/intrusive_list.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI {

namespace detail {

struct QueueTag;

// A waiter in a queue of equals: cancelled by leaving the queue.
struct QueuedWaiter : Waiter, ListHook<QueueTag> {
  explicit QueuedWaiter(const WaitKind& kind) noexcept : Waiter(&kind) {}
  ~QueuedWaiter() { unlink(); }
  bool cancelled = false;

  /// Its turn has come. What it waits for belongs to one thread.
  void wake() noexcept {
    HORUS_ASSERT(thread_ == thread_state.number || thread_ == 0,
                 "an Event, Channel, Semaphore or Mutex was used on another thread than that of a task which "
                 "waits for "
                 "it (Reactor::post brings the work there)");
    make_ready();
  }
  static void cancel(Waiter& waiter) noexcept {
    auto& self = static_cast<QueuedWaiter&>(waiter);
    self.unlink();
    self.cancelled = true;
    self.make_ready();
  }
  void refuse() noexcept {
    cancelled = true;
    make_ready();
  }

 private:
  std::uint64_t thread_ = thread_state.number;
};
using WaiterQueue = IntrusiveList<QueuedWaiter, QueueTag>;

}  // namespace detail

/// A flag that coroutines wait for. `set()` wakes all waiters, through the ready list; the flag stays set until
/// `reset()`.
class Event {
 public:
  struct Awaiter : detail::QueuedWaiter {
    explicit Awaiter(Event& event) noexcept : QueuedWaiter(kKind), event_(event) {}
    [[nodiscard]] bool await_ready() const noexcept { return event_.set_; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) return refuse();
      event_.waiters_.push_back(*this);
    }
    void await_resume() const {
      if (cancelled) throw Error(ECANCELED, "wait for an event");
    }

   private:
    static constexpr WaitKind kKind{.name = "an event", .cancel = &QueuedWaiter::cancel};
    Event& event_;
  };

  [[nodiscard]] bool is_set() const noexcept { return set_; }
  void set() noexcept {
    set_ = true;
    while (auto* waiter = waiters_.pop_front()) waiter->wake();
  }
  void reset() noexcept { set_ = false; }
  /// Waits until the event is set. Throws Error(ECANCELED) when the waiting task is asked to stop.
  [[nodiscard]] Awaiter wait() noexcept { return Awaiter(*this); }
  Awaiter operator co_await() noexcept { return Awaiter(*this); }

 private:
  detail::WaiterQueue waiters_;
  bool set_ = false;
};

/// Counts permits. Waiters are served first come, first served.
class Semaphore {
 public:
  explicit Semaphore(std::size_t permits) noexcept : permits_(permits) {}

  struct Awaiter : detail::QueuedWaiter {
    explicit Awaiter(Semaphore& semaphore) noexcept : QueuedWaiter(kKind), semaphore_(semaphore) {}
    // A frame that is freed instead of resumed (a dropped stream's) leaves its permit to the next.
    ~Awaiter() {
      if (granted_) semaphore_.release();
    }
    bool await_ready() noexcept { return semaphore_.try_acquire(); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) return refuse();
      semaphore_.waiters_.push_back(*this);
    }
    void await_resume() {
      granted_ = false;
      if (cancelled) throw Error(ECANCELED, "acquire a semaphore");
    }

   private:
    friend class Semaphore;
    static constexpr WaitKind kKind{.name = "a semaphore", .cancel = &QueuedWaiter::cancel};
    Semaphore& semaphore_;
    bool granted_ = false;
  };

  [[nodiscard]] std::size_t available() const noexcept { return permits_; }
  [[nodiscard]] bool try_acquire() noexcept {
    if (permits_ == 0 || !waiters_.empty()) return false;
    --permits_;
    return true;
  }
  /// Takes one permit, waiting for it. Throws Error(ECANCELED) when the waiting task is asked to stop.
  [[nodiscard]] Awaiter acquire() noexcept { return Awaiter(*this); }
  void release(std::size_t count = 1) noexcept {
    // A permit goes straight to the first waiter, so a newcomer cannot overtake it.
    for (; count > 0; --count) {
      if (auto* waiter = waiters_.pop_front()) {
        static_cast<Awaiter*>(waiter)->granted_ = true;
        waiter->wake();
      } else {
        ++permits_;
      }
    }
  }

 private:
  detail::WaiterQueue waiters_;
  std::size_t permits_;
};

/// One coroutine at a time, across awaits. `auto lock = co_await mutex.lock();`
class Mutex {
 public:
  /// Holds the mutex until it is destroyed, or until `unlock()`.
  class [[nodiscard]] Lock {
   public:
    explicit Lock(Mutex& mutex) noexcept : mutex_(&mutex) {}
    Lock(Lock&& other) noexcept : mutex_(std::exchange(other.mutex_, nullptr)) {}
    Lock& operator=(Lock&& other) noexcept {
      std::swap(mutex_, other.mutex_);
      return *this;
    }
    ~Lock() { unlock(); }
    void unlock() noexcept {
      if (mutex_ != nullptr) std::exchange(mutex_, nullptr)->semaphore_.release();
    }

   private:
    Mutex* mutex_;
  };
  struct Awaiter : Semaphore::Awaiter {
    explicit Awaiter(Mutex& mutex) noexcept : Semaphore::Awaiter(mutex.semaphore_), mutex_(mutex) {}
    Lock await_resume() {
      Semaphore::Awaiter::await_resume();
      return Lock(mutex_);
    }
    Mutex& mutex_;
  };
  /// Throws Error(ECANCELED) when the waiting task is asked to stop.
  [[nodiscard]] Awaiter lock() noexcept { return Awaiter(*this); }

 private:
  Semaphore semaphore_{1};
};

namespace detail {

struct YieldAwaiter : Waiter {
  YieldAwaiter() noexcept : Waiter(&kKind) {}
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    static_cast<void>(suspend(awaiting));
    make_ready();
  }
  static constexpr void await_resume() noexcept {}

 private:
  static void cancel(Waiter&) noexcept {}  // it is ready already
  static constexpr WaitKind kKind{.name = "its turn", .cancel = &cancel};
};

struct StopQuery {
  bool stop = false;
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> asking) noexcept {
    if constexpr (std::derived_from<Promise, PromiseBase>) {
      const Chain* chain = asking.promise().chain;
      stop = chain != nullptr && chain->stop_requested();
    }
    return false;
  }
  [[nodiscard]] bool await_resume() const noexcept { return stop; }
};

}  // namespace detail

/// Lets every other ready coroutine run first. Never fails.
[[nodiscard]] inline detail::YieldAwaiter yield() noexcept { return {}; }

/// `co_await horus::stop_requested()` is true when this task was asked to stop. For loops that compute without
/// awaiting.
[[nodiscard]] inline detail::StopQuery stop_requested() noexcept { return {}; }

}  // namespace horus::HORUS_ABI
