// SPDX-License-Identifier: Apache-2.0
// when_any: a race. The first success wins. The losers are asked to stop and awaited, and values that they still
// deliver are kept.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/task/branch.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

namespace horus::HORUS_ABI {

/// No branch succeeded.
inline constexpr std::size_t kNoWinner = static_cast<std::size_t>(-1);

namespace detail {

// What wins a race. The end of one stream says nothing about the others in a loop that reads several.
template <class T>
[[nodiscard]] bool is_success(const T&) noexcept {
  return true;
}
template <class T>
[[nodiscard]] bool is_success(const Result<T>& result) noexcept {
  return result.ok();
}
template <class T>
[[nodiscard]] bool is_success(const std::optional<T>& next) noexcept {
  return next.has_value() && is_success(*next);
}

}  // namespace detail

/// How one branch of a race ended: with a value (which may be a failed Result), or with an exception.
template <class T>
struct Outcome {
  std::optional<NonVoid<T>> value;
  std::exception_ptr exception;

  /// A value that is neither a failed Result nor the end of a stream (an empty optional).
  [[nodiscard]] bool succeeded() const noexcept {
    if constexpr (std::is_void_v<T>) {
      return value.has_value();
    } else {
      return value.has_value() && detail::is_success(*value);
    }
  }
};

/// The result of a race: the winner's index (kNoWinner when all failed) and every branch's outcome.
template <class... Ts>
struct Race {
  std::size_t index = kNoWinner;
  std::tuple<Outcome<Ts>...> outcomes;
  [[nodiscard]] bool all_failed() const noexcept { return index == kNoWinner; }
};
template <class T>
struct RaceVector {
  std::size_t index = kNoWinner;
  std::vector<Outcome<T>> outcomes;
  [[nodiscard]] bool all_failed() const noexcept { return index == kNoWinner; }
};

namespace detail {

struct RaceJoin : Join {
  std::size_t winner = kNoWinner;
};

template <class T>
struct AnyBranch final : Branch<T> {
  using Branch<T>::Branch;
  std::size_t index = 0;

  std::coroutine_handle<> finished() noexcept override {
    auto& race = static_cast<RaceJoin&>(*this->join_);
    if (race.winner == kNoWinner && succeeded()) {
      race.winner = index;
      race.stop();
    }
    return race.branch_ended();
  }
  [[nodiscard]] bool succeeded() const noexcept {
    auto& outcome = this->task_.outcome();
    if (outcome.exception()) return false;
    if constexpr (std::is_void_v<T> || std::is_reference_v<T>) {
      return true;
    } else {
      return is_success(*outcome.peek());
    }
  }
  Outcome<T> outcome() {
    Outcome<T> result;
    auto& promise = this->task_.outcome();
    if (auto exception = promise.exception()) {
      result.exception = std::move(exception);
    } else {
      result.value.emplace(take_value(promise));
    }
    return result;
  }
};

template <class... Ts>
class WhenAnyAwaiter : public RaceJoin {
 public:
  explicit WhenAnyAwaiter(Task<Ts>... tasks) : branches_(std::move(tasks)...) {}
  static constexpr bool await_ready() noexcept { return sizeof...(Ts) == 0; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return run(parent, sizeof...(Ts), [this](auto&& visit) {
      std::size_t index = 0;
      std::apply([&](auto&... branch) { ((branch.index = index++, visit_one(branch, visit)), ...); },
                 branches_);
    });
  }
  Race<Ts...> await_resume() {
    return std::apply([this](auto&... branch) { return Race<Ts...>{winner, {branch.outcome()...}}; },
                      branches_);
  }
  void for_each(void (*visit)(Chain&, void*), void* context) noexcept override {
    std::apply([&](auto&... branch) { (visit(branch, context), ...); }, branches_);
  }

 private:
  // A race that is already won starts its later branches as stopped ones.
  template <class B, class Visit>
  void visit_one(B& branch, Visit&& visit) {
    if (winner != kNoWinner) branch.request_stop();
    visit(branch);
  }
  std::tuple<AnyBranch<Ts>...> branches_;
};

template <class T>
class WhenAnyVectorAwaiter : public RaceJoin {
 public:
  explicit WhenAnyVectorAwaiter(std::vector<Task<T>> tasks) {
    branches_.reserve(tasks.size());
    for (auto& task : tasks) {
      branches_.emplace_back(std::move(task));
      branches_.back().index = branches_.size() - 1;
    }
  }
  [[nodiscard]] bool await_ready() const noexcept { return branches_.empty(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return run(parent, branches_.size(), [this](auto&& visit) {
      for (auto& branch : branches_) {
        if (winner != kNoWinner) branch.request_stop();
        visit(branch);
      }
    });
  }
  RaceVector<T> await_resume() {
    RaceVector<T> race;
    race.index = winner;
    race.outcomes.reserve(branches_.size());
    for (auto& branch : branches_) race.outcomes.push_back(branch.outcome());
    return race;
  }
  void for_each(void (*visit)(Chain&, void*), void* context) noexcept override {
    for (auto& branch : branches_) visit(branch, context);
  }

 private:
  std::vector<AnyBranch<T>> branches_;
};

}  // namespace detail

/// Races tasks. The winner is the first that ends without an exception, a failed Result or the end of a stream (an
/// empty optional). So a loop that races the `next()` of several streams goes on until all of them have ended.
///
/// Semantics: the losers are asked to stop *and awaited*, so nothing of theirs outlives the race. A loser whose data
/// had already arrived keeps it in its outcome: look there before you drop it. When every branch fails,
/// `all_failed()` is true and each outcome gives the reason; nothing is thrown.
/// Example: `auto race = co_await horus::when_any(from_gps(), from_odometry());`
template <class... Ts>
[[nodiscard]] auto when_any(Task<Ts>... tasks) {
  return detail::WhenAnyAwaiter<Ts...>(std::move(tasks)...);
}

/// The same for any number of tasks of one type.
template <class T>
[[nodiscard]] auto when_any(std::vector<Task<T>> tasks) {
  return detail::WhenAnyVectorAwaiter<T>(std::move(tasks));
}

}  // namespace horus::HORUS_ABI
