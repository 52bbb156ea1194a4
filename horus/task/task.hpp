// SPDX-License-Identifier: Apache-2.0
// Task<T>: a lazy coroutine that returns one T to the coroutine that awaits it.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI {

template <class T>
class Task;

namespace detail {

// At the end: on to the parent, or, for the root of a chain, to whatever the chain decides.
struct FinalAwaiter {
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  static std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept {
    PromiseBase& promise = ended.promise();
    if (promise.continuation) [[likely]]
      return promise.continuation;
    return promise.chain->finished();
  }
  static constexpr void await_resume() noexcept {}
};

class TaskPromiseBase : public PromiseBase {
 public:
  static std::suspend_always initial_suspend() noexcept { return {}; }
  static FinalAwaiter final_suspend() noexcept { return {}; }
};

template <class T>
class TaskPromise final : public TaskPromiseBase {
  using Stored = std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>;

 public:
  TaskPromise() noexcept {}
  ~TaskPromise() {
    if constexpr (!kTrivial) {
      if (state_ == State::value) std::destroy_at(&value_);
    }
    if (state_ == State::exception) std::destroy_at(&exception_);
  }
  TaskPromise(const TaskPromise&) = delete;
  TaskPromise& operator=(const TaskPromise&) = delete;

  Task<T> get_return_object() noexcept;
  void unhandled_exception() noexcept {
    std::construct_at(&exception_, std::current_exception());
    state_ = State::exception;
  }
  template <class U>
    requires std::convertible_to<U&&, T>
  void return_value(U&& value) {
    if constexpr (std::is_reference_v<T>) {
      std::construct_at(&value_, std::addressof(value));
    } else {
      std::construct_at(&value_, std::forward<U>(value));
    }
    if constexpr (!kTrivial) state_ = State::value;
  }
  [[nodiscard]] std::exception_ptr exception() const {
    return state_ == State::exception ? exception_ : std::exception_ptr{};
  }
  [[nodiscard]] const Stored* peek() const noexcept { return state_ == State::value ? &value_ : nullptr; }
  T take() {
    if (state_ == State::exception) [[unlikely]]
      std::rethrow_exception(exception_);
    if constexpr (!kTrivial) HORUS_ASSERT(state_ == State::value, "a task ended without a value");
    if constexpr (std::is_reference_v<T>) {
      return static_cast<T>(*value_);
    } else {
      return std::move(value_);
    }
  }

 private:
  enum class State : unsigned char { empty, value, exception };
  // A value that needs no destructor needs no note that it is there.
  static constexpr bool kTrivial = std::is_trivially_destructible_v<Stored>;
  union {
    Stored value_;
    std::exception_ptr exception_;
  };
  State state_ = kTrivial ? State::value : State::empty;
};

template <>
class TaskPromise<void> final : public TaskPromiseBase {
 public:
  Task<void> get_return_object() noexcept;
  void unhandled_exception() noexcept { exception_ = std::current_exception(); }
  void return_void() noexcept {}
  [[nodiscard]] std::exception_ptr exception() const { return exception_; }
  void take() {
    if (exception_) [[unlikely]]
      std::rethrow_exception(exception_);
  }

 private:
  std::exception_ptr exception_;
};

}  // namespace detail

/// A lazy coroutine: it starts when it is awaited (or spawned), and returns one T or rethrows its exception.
///
/// Semantics: move-only; awaited once; destroying one that has not started frees it without running it. A child that
/// ends without suspending resumes its parent without growing the stack, on every supported compiler. Recursive tasks
/// use stack like recursive functions.
/// Thread safety: belongs to the thread that awaits it.
/// Example: `Task<int> answer() { co_return 42; }  …  int n = co_await answer();`
template <class T = void>
class [[nodiscard("a Task does nothing until it is awaited or spawned")]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using value_type = T;
  using Handle = std::coroutine_handle<promise_type>;

  Task() noexcept = default;
  Task(Task&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    Task(std::move(other)).swap(*this);
    return *this;
  }
  ~Task() {
    if (coroutine_) coroutine_.destroy();
  }
  void swap(Task& other) noexcept { std::swap(coroutine_, other.coroutine_); }

  /// False after a move or a default construction.
  [[nodiscard]] bool valid() const noexcept { return coroutine_ != nullptr; }
  [[nodiscard]] bool done() const noexcept { return coroutine_ && coroutine_.done(); }

  class Awaiter {
   public:
    explicit Awaiter(Handle coroutine) noexcept : coroutine_(coroutine) {}
    static constexpr bool await_ready() noexcept { return false; }
    // Starts the child on this stack. While it runs, its end leads nowhere (noop), so a child that ends at once
    // simply returns here and the parent goes on; one that suspends finds the parent as continuation later.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
      promise_type& child = coroutine_.promise();
      if constexpr (std::derived_from<Promise, PromiseBase>) {
        child.parent = &parent.promise();
        child.chain = parent.promise().chain;
      }
      HORUS_ASSERT(!child.continuation, "co_await of a task that was awaited before: a task runs once");
      child.continuation = std::noop_coroutine();
      coroutine_.resume();
      if (coroutine_.done()) return false;
      child.continuation = parent;
      return true;
    }
    T await_resume() { return coroutine_.promise().take(); }

   private:
    Handle coroutine_;
  };

  Awaiter operator co_await() const noexcept {
    HORUS_ASSERT(coroutine_ != nullptr, "co_await of an empty task (moved from, or awaited twice?)");
    return Awaiter(coroutine_);
  }

  /// For owners of chains: runs the task as the root of `chain` until it first suspends.
  void start(Chain& chain) noexcept {
    prepare(chain);
    coroutine_.resume();
  }
  /// The same in two steps, to start through the ready list.
  std::coroutine_handle<> prepare(Chain& chain) noexcept {
    HORUS_ASSERT(coroutine_ != nullptr, "start of an empty task");
    coroutine_.promise().chain = &chain;
    coroutine_.promise().where = {};  // a spawned task that has not begun is told by this
    return coroutine_;
  }
  /// The outcome of a task that is done().
  promise_type& outcome() const noexcept { return coroutine_.promise(); }

 private:
  friend promise_type;
  explicit Task(Handle coroutine) noexcept : coroutine_(coroutine) {}
  Handle coroutine_;
};

namespace detail {

template <class T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise>::from_promise(*this));
}

template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<Task<T>> = true;

// A coroutine lambda together with its captures, which live until its task has ended.
template <class F>
  requires is_task<std::invoke_result_t<F&>>
std::invoke_result_t<F&> with_captures(F function) {
  auto task = function();
  co_return co_await task;
}

}  // namespace detail
}  // namespace horus::HORUS_ABI
