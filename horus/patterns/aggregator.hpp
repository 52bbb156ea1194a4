// SPDX-License-Identifier: Apache-2.0
// Aggregator<T>: runs named tasks side by side and gathers their results, or the reasons for their failures. One
// reactor's thread. It owns its running tasks and the results that have not been taken.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/time.hpp>
#include <horus/patterns/failure.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>
#include <horus/task/when_all.hpp>

namespace horus::HORUS_ABI {

namespace detail {

template <class T>
struct AggregatedValue {
  using type = NonVoid<T>;
};
template <class T>
struct AggregatedValue<Result<T>> {
  using type = NonVoid<T>;
};

}  // namespace detail

/// The results of an Aggregator, by the tasks' names. `V` is the tasks' T, or the U of a Result<U>; std::monostate
/// for void.
template <class V>
struct Aggregated {
  std::map<std::string, V> values;
  std::map<std::string, Failure> failures;
  std::vector<std::string> pending;  ///< still running, in order of name

  /// Every task has ended, and none of them failed.
  [[nodiscard]] bool complete() const noexcept { return pending.empty() && failures.empty(); }
};

/// A snapshot of an Aggregator: counts since its construction.
struct AggregatorStatistics {
  std::uint64_t added = 0;
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;    ///< tasks that threw or gave a failed Result, cancelled ones included
  std::uint64_t timeouts = 0;  ///< calls of results() that returned only a part
  std::size_t running = 0;
  std::size_t held = 0;        ///< outcomes that have not been taken
  std::size_t high_water = 0;  ///< the most tasks that were running or held at a time
};

/// Gathers the results of tasks under their names: the answers of several services, the parts of a start-up check.
///
/// Semantics: `add` starts a task through the ready list. A failed task stops no other. Taking results removes them:
/// each outcome is given once, and its name is free again. Close the aggregator before it is destroyed, as you join a
/// Scope: destroying one with running tasks ends the program with their names.
/// Errors: `add` throws Error: EEXIST (the name is in use), EINVAL (it is empty), EAGAIN (`limit` tasks run or wait
/// to be taken), kChannelClosed. The constructor throws Error(EINVAL) for a limit of 0, `results` for a timeout below
/// 0.
/// Thread safety: one reactor's thread.
/// Example: examples/aggregator.
template <class T>
class Aggregator {
 public:
  using Value = typename detail::AggregatedValue<T>::type;
  using Results = Aggregated<Value>;
  static constexpr std::size_t kLimit = 256;

  explicit Aggregator(std::size_t limit = kLimit, std::string name = "aggregator")
      : name_(std::move(name)), limit_(limit) {
    if (limit == 0) throw Error(EINVAL, "make an aggregator", name_ + " (limit: 1 or more)");
    all_ended_.set();
  }
  Aggregator(const Aggregator&) = delete;
  Aggregator& operator=(const Aggregator&) = delete;

  /// Starts `task` soon; its outcome is kept as `name`.
  void add(std::string name, Task<T> task) {
    if (closed_) throw refusal(kChannelClosed, name, "");
    if (name.empty()) throw refusal(EINVAL, "a task", " (its name is empty)");
    if (running_.size() + held() >= limit_)
      throw refusal(EAGAIN, name,
                    " (as many run or wait to be taken as may: take results(), or raise the limit)");
    if (running_.contains(name) || held_.values.contains(name) || held_.failures.contains(name))
      throw refusal(EEXIST, name, " (give one of the two another name, or take results() first)");
    const auto place = running_.emplace(name, Running()).first;
    place->second.handle = scope_.spawn(run(place, std::move(task)), std::move(name));
    all_ended_.reset();
    ++statistics_.added;
    statistics_.high_water = std::max(statistics_.high_water, running_.size() + held());
  }
  /// The same for a coroutine lambda. It is kept, with its captures, until its task has ended.
  template <class F>
    requires std::is_same_v<std::invoke_result_t<F&>, Task<T>>
  void add(std::string name, F lambda) {
    add(std::move(name), detail::with_captures(std::move(lambda)));
  }

  /// True when no task runs; also when none was ever added.
  [[nodiscard]] bool all_completed() const noexcept { return running_.empty(); }
  /// Waits until every task has ended, at most `timeout`, and takes the results so far. Tasks that still run
  /// continue, and are named in `pending`. Throws Error(ECANCELED) when the waiting task is asked to stop; nothing is
  /// taken then.
  [[nodiscard]] Task<Results> results(Duration timeout = Duration::max()) {
    if (timeout < Duration::zero()) throw Error(EINVAL, "wait for results", name_ + " (a timeout below 0)");
    return wait_and_take(timeout);
  }
  /// Takes the results so far.
  [[nodiscard]] Results take() {
    Results taken = std::exchange(held_, Results());
    for (const auto& [name, running] : running_) taken.pending.push_back(name);
    return taken;
  }
  /// Drops the results that have not been taken; running tasks go on.
  void clear() { held_ = Results(); }
  /// Asks every running task to stop. It then ends as a failure, unless it already has its value.
  void cancel() noexcept {
    for (auto& [name, running] : running_) running.handle.cancel();
  }
  /// Refuses further tasks, stops the running ones and waits for them. Their results can still be taken.
  [[nodiscard]] Task<> close() {
    closed_ = true;
    scope_.cancel();
    co_await scope_.join();
  }

  [[nodiscard]] AggregatorStatistics stats() const noexcept {
    AggregatorStatistics statistics = statistics_;
    statistics.running = running_.size();
    statistics.held = held();
    return statistics;
  }

 private:
  struct Running {
    Spawned<void> handle;
  };
  using Place = typename std::map<std::string, Running>::iterator;

  [[nodiscard]] std::size_t held() const noexcept { return held_.values.size() + held_.failures.size(); }
  [[nodiscard]] Error refusal(int code, const std::string& name, const char* more) const {
    return {code, "aggregate", "\"" + name + "\" in " + name_ + more};
  }

  Task<> run(Place place, Task<T> task) {
    try {
      if constexpr (std::is_void_v<T>) {
        co_await task;
        keep(place, {});
      } else if constexpr (detail::is_result<T>) {
        auto result = co_await task;
        if (result) {
          if constexpr (std::is_same_v<T, Result<>>) {
            keep(place, {});
          } else {
            keep(place, *std::move(result));
          }
        } else {
          fail(place, Failure(result.error()));
        }
      } else {
        auto value = co_await task;
        keep(place, std::move(value));
      }
    } catch (...) {
      fail(place, Failure(std::current_exception()));
    }
    running_.erase(place);  // the handle too: the scope alone holds this task now
    if (running_.empty()) all_ended_.set();
  }
  void keep(Place place, Value value) {
    held_.values.emplace(place->first, std::move(value));
    ++statistics_.succeeded;
  }
  void fail(Place place, Failure failure) {
    held_.failures.emplace(place->first, std::move(failure));
    ++statistics_.failed;
  }

  Task<> wait_for_all() {
    while (!running_.empty()) co_await all_ended_;
  }
  Task<Results> wait_and_take(Duration timeout) {
    auto waiting = wait_for_all();
    if (timeout == Duration::max()) {
      co_await waiting;
    } else {
      auto ended = co_await with_timeout(timeout, std::move(waiting));
      if (!ended) {
        if (!ended.error().timed_out()) throw Error(ended.error());
        ++statistics_.timeouts;
      }
    }
    co_return take();
  }

  std::string name_;
  std::size_t limit_;
  bool closed_ = false;
  std::map<std::string, Running> running_;
  Results held_;
  Event all_ended_;
  AggregatorStatistics statistics_;
  Scope scope_{"aggregator", Failures::log};
};

}  // namespace horus::HORUS_ABI
