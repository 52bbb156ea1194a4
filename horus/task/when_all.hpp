// SPDX-License-Identifier: Apache-2.0
// when_all: runs tasks side by side and gives all their values. Both forms wait for every branch, always.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <horus/task/branch.hpp>

namespace horus::HORUS_ABI {

/// The branches' values; a void branch has std::monostate.
template <class T>
using NonVoid = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

namespace detail {

template <class T>
NonVoid<T> take_value(TaskPromise<T>& outcome) {
  if constexpr (std::is_void_v<T>) {
    outcome.take();
    return {};
  } else {
    return outcome.take();
  }
}

// A branch that throws stops its siblings; the first exception (in time) is rethrown after the join.
template <class T>
struct AllBranch final : Branch<T> {
  using Branch<T>::Branch;
  std::coroutine_handle<> finished() noexcept override {
    Join& join = *this->join_;
    if (auto exception = this->task_.outcome().exception(); exception && !join.failure) [[unlikely]] {
      join.failure = std::move(exception);
      join.stop();
    }
    return join.branch_ended();
  }
};

template <class... Ts>
class WhenAllAwaiter : public Join {
 public:
  explicit WhenAllAwaiter(Task<Ts>... tasks) : branches_(std::move(tasks)...) {}
  static constexpr bool await_ready() noexcept { return sizeof...(Ts) == 0; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return run(parent, sizeof...(Ts), [this](auto&& visit) {
      std::apply([&](auto&... branch) { (visit(branch), ...); }, branches_);
    });
  }
  std::tuple<NonVoid<Ts>...> await_resume() {
    if (failure) [[unlikely]]
      std::rethrow_exception(failure);
    return std::apply(
        [](auto&... branch) { return std::tuple<NonVoid<Ts>...>{take_value(branch.task().outcome())...}; },
        branches_);
  }
  void for_each(void (*visit)(Chain&, void*), void* context) noexcept override {
    std::apply([&](auto&... branch) { (visit(branch, context), ...); }, branches_);
  }

 private:
  std::tuple<AllBranch<Ts>...> branches_;
};

template <class T>
class WhenAllVectorAwaiter : public Join {
 public:
  explicit WhenAllVectorAwaiter(std::vector<Task<T>> tasks) {
    branches_.reserve(tasks.size());
    for (auto& task : tasks) branches_.emplace_back(std::move(task));
  }
  [[nodiscard]] bool await_ready() const noexcept { return branches_.empty(); }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    return run(parent, branches_.size(), [this](auto&& visit) {
      for (auto& branch : branches_) visit(branch);
    });
  }
  auto await_resume() {
    if (failure) [[unlikely]]
      std::rethrow_exception(failure);
    if constexpr (!std::is_void_v<T>) {
      std::vector<T> values;
      values.reserve(branches_.size());
      for (auto& branch : branches_) values.push_back(branch.task().outcome().take());
      return values;
    }
  }
  void for_each(void (*visit)(Chain&, void*), void* context) noexcept override {
    for (auto& branch : branches_) visit(branch, context);
  }

 private:
  std::vector<AllBranch<T>> branches_;
};

}  // namespace detail

/// Runs all tasks concurrently; returns a tuple of their values, `std::monostate` for a void task.
///
/// Semantics: the branches start in order on this stack. When one throws, the others are asked to stop and awaited,
/// then the first exception is rethrown. A cancelled when_all cancels every branch and awaits it.
/// Example: `auto [a, b] = co_await horus::when_all(read(x), read(y));`
template <class... Ts>
[[nodiscard]] auto when_all(Task<Ts>... tasks) {
  return detail::WhenAllAwaiter<Ts...>(std::move(tasks)...);
}

/// The same for any number of tasks of one type; returns a vector of values in the order of the tasks (void: nothing).
/// Allocates twice: the branches, and the vector of values.
template <class T>
[[nodiscard]] auto when_all(std::vector<Task<T>> tasks) {
  return detail::WhenAllVectorAwaiter<T>(std::move(tasks));
}

}  // namespace horus::HORUS_ABI
