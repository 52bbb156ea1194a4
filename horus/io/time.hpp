// SPDX-License-Identifier: Apache-2.0
// Waiting for time: sleep, sleep_until, Interval on an absolute grid, with_timeout. All on CLOCK_MONOTONIC, never
// early. Timers belong to the frames that wait; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/base/literals.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/branch.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI {

namespace detail {

struct SleepAwaiter : Waiter, io::Timer {
  explicit SleepAwaiter(std::int64_t when_ns, bool relative) noexcept
      : Waiter(&kKind), deadline_(when_ns), relative_(relative) {}
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    io::Reactor* reactor = io::Reactor::current();
    HORUS_ASSERT(reactor != nullptr, "sleep on a thread that runs no reactor (use horus::io::run(task))");
    expired = [](io::Timer& timer) noexcept { static_cast<SleepAwaiter&>(timer).make_ready(); };
    if (!suspend(awaiting)) {
      cancelled_ = true;
      return make_ready();
    }
    reactor->timers().insert(*this, relative_ ? saturating_add(reactor->now_ns(), deadline_) : deadline_);
  }
  void await_resume() const {
    if (cancelled_) throw Error(ECANCELED, "sleep");
  }

 private:
  static void cancel(Waiter& waiter) noexcept {
    auto& self = static_cast<SleepAwaiter&>(waiter);
    io::Reactor::current()->timers().cancel(self);
    self.cancelled_ = true;
    self.make_ready();
  }
  static constexpr WaitKind kKind{.name = "a timer", .cancel = &SleepAwaiter::cancel};
  std::int64_t deadline_;
  bool relative_;
  bool cancelled_ = false;
};

// What a value of the next element of a stream of Results looks like.
template <class T>
inline constexpr bool is_optional_result = false;
template <class T>
inline constexpr bool is_optional_result<std::optional<Result<T>>> = true;

// What `chain` waits for, as dump_tasks() would say it.
HORUS_API std::string awaited_by(const Chain& chain);
// The failure of a task that was stopped by `limit` and ended with `stopped`.
HORUS_API Error timed_out(const Error& stopped, std::string_view awaited, Duration limit);

// One task and a timer that stops it.
template <class T>
class TimeoutAwaiter : public Join, public io::Timer {
 public:
  TimeoutAwaiter(Duration limit, Task<T> task) : limit_(limit), branch_(std::move(task)) {}
  ~TimeoutAwaiter() override {
    if (pending()) io::Reactor::current()->timers().cancel(*this);  // a stream was dropped here
  }
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    io::Reactor* reactor = io::Reactor::current();
    HORUS_ASSERT(reactor != nullptr,
                 "with_timeout on a thread that runs no reactor (use horus::io::run(task))");
    expired = [](io::Timer& timer) noexcept {
      auto& self = static_cast<TimeoutAwaiter&>(timer);
      self.timed_out_ = true;
      self.awaited_ = awaited_by(self.branch_);
      self.stop();
    };
    reactor->timers().insert(*this, saturating_add(reactor->now_ns(), limit_.count()));
    return run(parent, 1, [this](auto&& visit) { visit(branch_); });
  }
  auto await_resume() {
    io::Reactor::current()->timers().cancel(*this);
    if constexpr (is_result<T>) {
      return result();
    } else {
      return wrapped();
    }
  }
  void for_each(void (*visit)(Chain&, void*), void* context) noexcept override { visit(branch_, context); }

 private:
  struct OnlyBranch final : Branch<T> {
    using Branch<T>::Branch;
    std::coroutine_handle<> finished() noexcept override { return this->join_->branch_ended(); }
  };
  [[nodiscard]] bool too_late(const Error& error) const noexcept { return timed_out_ && error.cancelled(); }
  [[nodiscard]] Error timeout(const Error& stopped) const { return timed_out(stopped, awaited_, limit_); }

  T result() {
    try {
      T value = branch_.task().outcome().take();
      if (!value && too_late(value.error())) return timeout(value.error());
      return value;
    } catch (const Error& error) {
      if (too_late(error)) return timeout(error);
      throw;
    }
  }
  Result<T> wrapped() {
    try {
      if constexpr (std::is_void_v<T>) {
        branch_.task().outcome().take();
        return {};
      } else {
        T value = branch_.task().outcome().take();
        if constexpr (is_optional_result<T>) {
          if (value.has_value() && !*value && too_late(value->error())) return timeout(value->error());
        }
        return value;
      }
    } catch (const Error& error) {
      if (too_late(error)) return timeout(error);
      throw;
    }
  }

  Duration limit_;
  OnlyBranch branch_;
  std::string awaited_;  // when the time was up
  bool timed_out_ = false;
};

}  // namespace detail

/// Suspends for at least `duration`. Throws Error(ECANCELED) when the task is asked to stop.
[[nodiscard("co_await it")]] inline detail::SleepAwaiter sleep(Duration duration) noexcept {
  return detail::SleepAwaiter(duration.count(), true);
}
/// Suspends until `when` (CLOCK_MONOTONIC) or a little later, never earlier. Throws Error(ECANCELED) as sleep does.
[[nodiscard("co_await it")]] inline detail::SleepAwaiter sleep_until(TimePoint when) noexcept {
  return detail::SleepAwaiter(when.time_since_epoch().count(), false);
}

/// Runs `task` for at most `limit`; then the task is asked to stop, and awaited. A task that delivers its value
/// nevertheless keeps it. Gives a Result<T> (the same type when T is a Result already). A timeout is the failure
/// ETIMEDOUT and names the awaited operation: `read 127.0.0.1:9900: timed out after 1 s`.
/// Example: `auto line = co_await horus::with_timeout(100ms, stream.read_line());`
template <class T>
[[nodiscard("co_await it")]] auto with_timeout(Duration limit, Task<T> task) {
  return detail::TimeoutAwaiter<T>(limit, std::move(task));
}

/// A grid of instants `start + k * period`. Lateness never shifts it; missed instants are skipped and counted.
/// Example: `horus::Interval every(10ms);  while (true) { co_await every.next(); … }`
class Interval {
 public:
  explicit Interval(Duration period) noexcept : Interval(period, now_ns()) {}
  explicit Interval(Rate rate) noexcept : Interval(rate.period()) {}
  Interval(Duration period, std::int64_t start_ns) noexcept : period_(period.count()), next_(start_ns) {
    HORUS_ASSERT(period_ > 0, "an Interval needs a period above zero");
  }

  /// Waits for the next instant of the grid. Throws Error(ECANCELED) as sleep does.
  [[nodiscard]] detail::SleepAwaiter next() noexcept {
    const std::int64_t now = now_ns();
    next_ = saturating_add(next_, period_);
    if (next_ < now) {
      const std::int64_t behind = (now - next_ + period_ - 1) / period_;
      missed_ += static_cast<std::uint64_t>(behind);
      next_ += behind * period_;
    }
    return detail::SleepAwaiter(next_, false);
  }
  /// Instants that had already passed when `next()` was called.
  [[nodiscard]] std::uint64_t missed() const noexcept { return missed_; }

 private:
  std::int64_t period_;
  std::int64_t next_;
  std::uint64_t missed_ = 0;
};

}  // namespace horus::HORUS_ABI
