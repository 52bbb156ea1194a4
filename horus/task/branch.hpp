// SPDX-License-Identifier: Apache-2.0
// The common base of when_all, when_any and with_timeout: a coroutine that waits for several chains at once.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <cstddef>
#include <exception>
#include <utility>

#include <horus/task/chain.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::detail {

// The waiting side. Cancelling it stops every branch; it resumes when the last branch has ended.
class HORUS_API Join : public Waiter {
 public:
  Join() noexcept : Waiter(&kKind) {}
  virtual void for_each(void (*visit)(Chain&, void*), void* context) noexcept = 0;

  void stop() noexcept {
    for_each([](Chain& branch, void*) { branch.request_stop(); }, nullptr);
  }

  // Called by a branch in its final suspension: the last one goes on with the parent.
  std::coroutine_handle<> branch_ended() noexcept {
    if (--remaining_ != 0) return std::noop_coroutine();
    unsuspend();
    return handle;
  }

  std::exception_ptr failure;

 protected:
  virtual ~Join() = default;

  // Starts the branches in order. False when all of them ended at once.
  template <class Promise, class ForEach>
  bool run(std::coroutine_handle<Promise> parent, std::size_t count, ForEach&& for_each_branch) noexcept {
    remaining_ = count + 1;
    const bool stopping = !suspend(parent);
    ExecutionAccount* const account =
        promise != nullptr && promise->chain != nullptr ? promise->chain->execution_account() : nullptr;
    for_each_branch([&](auto& branch) {
      branch.charge_to(account);
      if (stopping) branch.request_stop();
      branch.start(*this);
    });
    if (--remaining_ != 0) return true;
    unsuspend();
    return false;
  }

 private:
  static const WaitKind kKind;
  std::size_t remaining_ = 0;
};

// One task of a join, as a chain of its own.
template <class T>
class Branch : public Chain {
 public:
  explicit Branch(Task<T> task) noexcept : task_(std::move(task)) {}
  // Only before the start (a vector that grows, a tuple that is built).
  Branch(Branch&& other) noexcept : task_(std::move(other.task_)) {}
  void start(Join& join) noexcept {
    join_ = &join;
    task_.start(*this);
  }
  Task<T>& task() noexcept { return task_; }
  [[nodiscard]] std::string_view label() const noexcept override { return "branch"; }

 protected:
  Task<T> task_;
  Join* join_ = nullptr;
};

}  // namespace horus::HORUS_ABI::detail
