// SPDX-License-Identifier: Apache-2.0
// AsyncStream<T>: a coroutine that produces many values over time (accepted connections, lines, ticks). Its body is a
// chain of its own, so a consumer that stops waiting does not disturb it. One thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/error.hpp>
#include <horus/base/result.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

namespace detail {

/// The body of a stream of any type.
class HORUS_API StreamBody : public PromiseBase, public Chain {
 public:
  enum class State : std::uint8_t {
    resting,  // not started, or between two values
    working,  // on its way to the next value
    holding,  // a value (or the end) waits to be taken
  };

  struct HandOver {
    static constexpr bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept {
      return self.promise().arrived();
    }
    static constexpr void await_resume() noexcept {}
  };
  static std::suspend_always initial_suspend() noexcept { return {}; }
  static HandOver final_suspend() noexcept { return {}; }
  void return_void() noexcept {}
  void unhandled_exception() noexcept { failure = std::current_exception(); }

  [[nodiscard]] std::string_view label() const noexcept override { return "stream"; }
  std::coroutine_handle<> finished() noexcept override { return std::noop_coroutine(); }

  /// Runs `body` until it first suspends. True when it has produced something by then.
  bool start(std::coroutine_handle<> body) noexcept;
  /// The stream was dropped. Frees `body` now, or as soon as its pending operation has ended. No further line of the
  /// body runs.
  void drop(std::coroutine_handle<> body) noexcept;
  /// The consumer has stopped waiting.
  void leave() noexcept;
  /// The coroutine to run next when the body has progressed.
  std::coroutine_handle<> arrived() noexcept;

  std::exception_ptr failure;
  Waiter* consumer = nullptr;
  State state = State::resting;
  bool starting = false;  // on the stack of whoever asks
};

/// Waits until the body has a value. A consumer that stops waiting does not disturb the body.
class HORUS_API StreamWaiter : public Waiter {
 public:
  StreamWaiter(StreamBody& body, std::coroutine_handle<> frame) noexcept
      : Waiter(&kKind), body_(&body), frame_(frame) {}
  [[nodiscard]] bool await_ready() const noexcept { return body_->state == StreamBody::State::holding; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> consumer) noexcept {
    return wait(suspend(consumer));
  }

 protected:
  /// True: the consumer gave up before anything came.
  [[nodiscard]] bool gave_up() const noexcept {
    return gave_up_ && body_->state != StreamBody::State::holding;
  }

 private:
  bool wait(bool willing) noexcept;
  static void cancel(Waiter& waiter) noexcept;
  static void children(const Waiter& waiter, void (*visit)(const Chain&, void*), void* context);
  static const WaitKind kKind;

  StreamBody* body_;
  std::coroutine_handle<> frame_;
  bool gave_up_ = false;
};

/// Waits until a working body has progressed; a request to stop does not interrupt this wait.
class HORUS_API StreamEnd : public Waiter {
 public:
  explicit StreamEnd(StreamBody& body) noexcept : Waiter(&kKind), body_(body) {}
  [[nodiscard]] bool await_ready() const noexcept { return body_.state != StreamBody::State::working; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> closing) noexcept {
    static_cast<void>(suspend(closing));
    body_.consumer = this;
  }
  static constexpr void await_resume() noexcept {}

 private:
  static const WaitKind kKind;
  StreamBody& body_;
};

}  // namespace detail

/// A lazy sequence of T: its body starts with the first `next()`, and pauses after each value until the next one is
/// asked for.
///
/// Semantics: `co_yield` hands one value over; the end of the body ends the stream (nullopt); an exception of the
/// body comes out of `next()`. A consumer that is asked to stop, or whose time is up, stops waiting without
/// disturbing the body. A value that the body produces meanwhile is kept for the following `next()`, so nothing is
/// lost.
/// Dropping a stream cancels the pending operation of its body and then frees the frame, without running another line
/// of the body; a value that was not taken is destroyed. When an operation of the body uses memory of the consumer,
/// call `co_await stream.close()` first: it waits until the operation has ended.
/// Errors: Error(ECANCELED) for a consumer that is asked to stop, thrown by `next()`; a stream of Results gives it as
/// a failed Result. Two tasks that wait for one stream at a time end the program with a message.
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
  class promise_type : public detail::StreamBody {
   public:
    AsyncStream get_return_object() noexcept {
      chain = this;
      return AsyncStream(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    template <class U>
    HandOver yield_value(U&& value) {
      current.emplace(std::forward<U>(value));
      return {};
    }
    std::optional<T> current;
  };
  using Handle = std::coroutine_handle<promise_type>;

  AsyncStream(AsyncStream&& other) noexcept : body_(std::exchange(other.body_, nullptr)) {}
  AsyncStream& operator=(AsyncStream&& other) noexcept {
    std::swap(body_, other.body_);
    return *this;
  }
  ~AsyncStream() {
    if (body_) body_.promise().drop(body_);
  }

  class NextAwaiter : public detail::StreamWaiter {
   public:
    explicit NextAwaiter(Handle body) noexcept : StreamWaiter(body.promise(), body), body_(body) {}
    std::optional<T> await_resume() {
      if (gave_up()) {
        Error stopped(ECANCELED, "wait for the next value of a stream");
        if constexpr (detail::is_result<T>) {
          return std::optional<T>(std::in_place, std::move(stopped));
        } else {
          throw stopped;
        }
      }
      promise_type& body = body_.promise();
      if (!body_.done()) body.state = detail::StreamBody::State::resting;
      if (body.failure) std::rethrow_exception(std::exchange(body.failure, nullptr));
      return std::exchange(body.current, std::nullopt);
    }

   private:
    Handle body_;
  };
  /// The next value; nullopt at the end.
  [[nodiscard]] NextAwaiter next() noexcept {
    HORUS_ASSERT(body_ != nullptr, "next() of an AsyncStream that was moved from or closed");
    return NextAwaiter{body_};
  }

  /// Ends the stream: asks the body to stop and waits until it has reached its next value, which is dropped, or its
  /// end. A request to stop does not interrupt this wait.
  [[nodiscard]] Task<> close() {
    const Handle body = std::exchange(body_, nullptr);
    if (!body) co_return;
    const AsyncStream owner(body);
    if (body.promise().state != detail::StreamBody::State::working) co_return;
    HORUS_ASSERT(body.promise().consumer == nullptr, "close() of an AsyncStream that a task waits for");
    body.promise().request_stop();
    detail::StreamEnd ended(body.promise());
    co_await ended;
  }

 private:
  explicit AsyncStream(Handle body) noexcept : body_(body) {}
  Handle body_;
};

}  // namespace horus::HORUS_ABI
