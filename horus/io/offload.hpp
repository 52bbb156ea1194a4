// SPDX-License-Identifier: Apache-2.0
// Blocking calls that do not block the reactor: they run on a thread pool, and the coroutine continues on its own
// thread. One reactor's thread; the function alone runs elsewhere. Arguments and result live in the awaiting frame.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>

#include <horus/base/result.hpp>
#include <horus/io/base/remote.hpp>
#include <horus/io/base/thread_pool.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/result.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::io {
namespace detail {

template <class R>
struct OffloadResult {
  using type = Result<R>;
};
template <class T>
struct OffloadResult<Result<T>> {
  using type = Result<T>;
};

// What does not depend on the function: the way to the pool and back.
class HORUS_API OffloadBase : public Waiter, protected ThreadPool::Job, protected RemoteWork {
 public:
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (suspend(awaiting)) {
      leave();
    } else {
      refuse(ECANCELED);
    }
  }

 protected:
  OffloadBase(ThreadPool& pool, void (*run)(Job&) noexcept) noexcept;
  ~OffloadBase();
  void go_home() noexcept;  // on the pool's thread; the frame may be gone afterwards
  [[nodiscard]] Error refusal() const;

  int refused_ = 0;  // errno
  std::exception_ptr thrown_;

 private:
  void leave() noexcept;
  void refuse(int code) noexcept;
  static void cancel(Waiter& waiter) noexcept;
  static void describe(const Waiter& waiter, std::string& line);
  static const WaitKind kKind;

  ThreadPool& pool_;
  Reactor* home_ = nullptr;
  Arrivals* arrivals_ = nullptr;  // what outlives the reactor while this is away
  bool away_ = false;
};

template <class Function, class... Arguments>
class OffloadAwaiter final : public OffloadBase {
  using Returned = std::invoke_result_t<Function, Arguments...>;
  static_assert(!std::is_reference_v<Returned>, "an offloaded function gives a value, not a reference");

 public:
  using Outcome = typename OffloadResult<Returned>::type;

  template <class F, class... A>
  explicit OffloadAwaiter(ThreadPool& pool, F&& function, A&&... arguments)
      : OffloadBase(pool, &run_here),
        function_(std::forward<F>(function)),
        arguments_(std::forward<A>(arguments)...) {}

  Outcome await_resume() {
    if (refused_ != 0) return refusal();
    if (thrown_) std::rethrow_exception(thrown_);
    return *std::move(outcome_);
  }

 private:
  static void run_here(Job& job) noexcept {
    auto& self = static_cast<OffloadAwaiter&>(job);
    if constexpr (replay::kKeepsOutcome<Outcome>) {
      if (replay::at_work() && replay::give(self.outcome_, self.thrown_)) return self.go_home();
    }
    try {
      if constexpr (std::is_void_v<Returned>) {
        std::apply(std::move(self.function_), std::move(self.arguments_));
        self.outcome_.emplace();
      } else {
        self.outcome_.emplace(std::apply(std::move(self.function_), std::move(self.arguments_)));
      }
    } catch (...) {
      self.thrown_ = std::current_exception();
    }
    if constexpr (replay::kKeepsOutcome<Outcome>) {
      if (replay::at_work()) replay::keep(self.outcome_, self.thrown_);
    }
    self.go_home();
  }

  Function function_;
  std::tuple<Arguments...> arguments_;
  std::optional<Outcome> outcome_;
};

}  // namespace detail

/// Runs `function(arguments…)` on a thread of `pool` and gives its value as a Result. (The Result of a function that
/// returns one is passed on as it is.) An exception of the function is rethrown here.
///
/// Semantics: function and arguments are copied or moved into the awaiting frame and are destroyed on this thread.
/// When the pool is busy, the call waits in the pool's queue, first come, first served. When the task is asked to
/// stop, a call that has not started is taken back (ECANCELED); a call that runs is awaited, and its value delivered.
/// A call that never returns blocks its task and one thread of the pool; when the reactor ends, it abandons both
/// after its drain_limit. A function may run a reactor of its own and await another `offload` of the same pool there,
/// without a deadlock.
/// Errors: EAGAIN (the pool's queue is full), ECANCELED.
/// Thread safety: a thread with a reactor. Pass what the function needs as arguments: g++ 12 destroys the captures of a
/// lambda inside a co_await expression twice.
/// Example: `auto text = co_await horus::io::offload([](std::string path) { return slurp(path); }, path);`
template <class F, class... Arguments>
[[nodiscard]] auto offload_on(ThreadPool& pool, F&& function, Arguments&&... arguments) {
  return detail::OffloadAwaiter<std::decay_t<F>, std::decay_t<Arguments>...>(
      pool, std::forward<F>(function), std::forward<Arguments>(arguments)...);
}

/// The same on ThreadPool::standard().
template <class F, class... Arguments>
[[nodiscard]] auto offload(F&& function, Arguments&&... arguments) {
  return detail::OffloadAwaiter<std::decay_t<F>, std::decay_t<Arguments>...>(
      ThreadPool::standard(), std::forward<F>(function), std::forward<Arguments>(arguments)...);
}

}  // namespace horus::HORUS_ABI::io
