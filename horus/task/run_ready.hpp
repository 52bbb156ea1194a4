// SPDX-License-Identifier: Apache-2.0
// Driving coroutines without a reactor, for programs and tests that wait for nothing outside the process.
#pragma once

#include <exception>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// While it lives, this thread can run coroutines without a reactor: it has a ready list and a list of roots.
class HORUS_API ReadyScope {
 public:
  ReadyScope() noexcept;
  ReadyScope(const ReadyScope&) = delete;
  ReadyScope& operator=(const ReadyScope&) = delete;
  ~ReadyScope();

  /// Resumes ready coroutines until none is left. Returns the number of resumptions.
  std::size_t run_until_idle() noexcept;

 private:
  ReadyList ready_;
  IntrusiveList<Chain, RootTag> roots_;
  ReadyList* previous_ready_;
  IntrusiveList<Chain, RootTag>* previous_roots_;
};

/// The chain of a task that code outside any coroutine drives.
template <class T>
class RootChain final : public Chain {
 public:
  explicit RootChain(Task<T> task, const char* name = "main") noexcept
      : task_(std::move(task)), name_(name) {}
  RootChain(const RootChain&) = delete;
  RootChain& operator=(const RootChain&) = delete;
  ~RootChain() override = default;

  /// Runs the task until it first suspends.
  void start() noexcept {
    detail::list_root(*this);
    task_.start(*this);
  }
  [[nodiscard]] bool done() const noexcept { return done_; }
  /// The value of a task that is done(); rethrows its exception.
  T take() { return task_.outcome().take(); }
  [[nodiscard]] std::string_view label() const noexcept override { return name_; }
  std::coroutine_handle<> finished() noexcept override {
    done_ = true;
    ListHook<RootTag>::unlink();
    return std::noop_coroutine();
  }

 private:
  Task<T> task_;
  const char* name_;
  bool done_ = false;
};

/// Runs a task to its end on this thread, with nothing but a ready list: only other coroutines can end its awaits.
/// When the task still waits and nothing is ready, it has deadlocked, and the program ends with a dump of it.
template <class T>
T sync_await(Task<T> task) {
  ReadyScope ready;
  RootChain<T> root(std::move(task));
  root.start();
  ready.run_until_idle();
  HORUS_ASSERT(root.done(),
               ("sync_await: deadlock, nothing is ready and the task still waits\n" + dump_tasks()).c_str());
  return root.take();
}

}  // namespace horus::HORUS_ABI
