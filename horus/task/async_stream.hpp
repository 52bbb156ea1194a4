// SPDX-License-Identifier: Apache-2.0
// AsyncStream<T>: a coroutine that gives many values over time (accepted connections, lines, ticks).
#pragma once

#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/task/chain.hpp>

namespace horus {

/// A lazy sequence of T: its body runs only while somebody awaits `next()`.
///
/// Semantics: `co_yield` hands one value over; the end of the body ends the stream (nullopt); what the body throws
/// comes out of `next()`. Dropping a stream between two values destroys its frame.
/// Thread safety: one thread.
/// Example:
/// ```
/// horus::AsyncStream<std::string> lines(TcpStream& stream);   // co_yield inside
/// while (true) {
///   auto line = co_await lines.next();
///   if (!line) break;
/// }
/// ```
template <class T>
class [[nodiscard]] AsyncStream {
 public:
  class promise_type : public PromiseBase {
   public:
    AsyncStream get_return_object() noexcept {
      return AsyncStream(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    static std::suspend_always initial_suspend() noexcept { return {}; }
    struct HandOver {
      static constexpr bool await_ready() noexcept { return false; }
      static std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) noexcept {
        self.promise().arrived = true;
        return self.promise().continuation;
      }
      static constexpr void await_resume() noexcept {}
    };
    static HandOver final_suspend() noexcept { return {}; }
    template <class U>
    HandOver yield_value(U&& value) {
      current.emplace(std::forward<U>(value));
      return {};
    }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { failure = std::current_exception(); }

    std::optional<T> current;
    std::exception_ptr failure;
    bool arrived = false;
  };
  using Handle = std::coroutine_handle<promise_type>;

  AsyncStream(AsyncStream&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  AsyncStream& operator=(AsyncStream&& other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~AsyncStream() {
    if (body_) body_.destroy();
  }

  struct NextAwaiter {
    Handle body;
    [[nodiscard]] bool await_ready() const noexcept { return body.done(); }
    // As in Task: while the body runs on this stack, a value simply returns here.
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> consumer) noexcept {
      promise_type& promise = body.promise();
      if constexpr (std::derived_from<Promise, PromiseBase>) {
        promise.parent = &consumer.promise();
        promise.chain = consumer.promise().chain;
      }
      promise.arrived = false;
      promise.continuation = std::noop_coroutine();
      body.resume();
      if (promise.arrived) return false;
      promise.continuation = consumer;
      return true;
    }
    std::optional<T> await_resume() {
      promise_type& promise = body.promise();
      if (promise.failure) std::rethrow_exception(std::exchange(promise.failure, nullptr));
      return std::exchange(promise.current, std::nullopt);
    }
  };
  /// The next value; nullopt at the end.
  [[nodiscard]] NextAwaiter next() noexcept {
    HORUS_ASSERT(body_ != nullptr, "next() of an AsyncStream that was moved from");
    return NextAwaiter{body_};
  }

 private:
  explicit AsyncStream(Handle body) noexcept : body_(body) {}
  Handle body_;
};

}  // namespace horus
