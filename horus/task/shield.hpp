// SPDX-License-Identifier: Apache-2.0
// shield: runs a task that a stop request does not reach, for clean-up that must complete.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <utility>

#include <horus/task/branch.hpp>

namespace horus::HORUS_ABI {

namespace detail {

template <class T>
class ShieldAwaiter : public Waiter {
 public:
  explicit ShieldAwaiter(Task<T> task) noexcept : Waiter(&kKind), branch_(std::move(task)) {}
  static constexpr bool await_ready() noexcept { return false; }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> parent) noexcept {
    static_cast<void>(suspend(parent));  // also when the parent was asked to stop: that is the point
    return branch_.start(*this);
  }
  T await_resume() { return branch_.take(); }

 private:
  // The shielded task as a chain of its own, so that nobody's stop request finds it.
  class Shielded final : public Chain {
   public:
    explicit Shielded(Task<T> task) noexcept : task_(std::move(task)) {}
    // True when the parent has to wait.
    bool start(Waiter& parent) noexcept {
      parent_ = &parent;
      starting_ = true;
      task_.start(*this);
      starting_ = false;
      if (!task_.done()) return true;
      parent.unsuspend();
      return false;
    }
    std::coroutine_handle<> finished() noexcept override {
      if (starting_) return std::noop_coroutine();
      parent_->unsuspend();
      return parent_->handle;
    }
    [[nodiscard]] std::string_view label() const noexcept override { return "shielded task"; }
    T take() { return task_.outcome().take(); }

   private:
    Task<T> task_;
    Waiter* parent_ = nullptr;
    bool starting_ = false;
  };
  static void ignore(Waiter&) noexcept {}
  static void children(const Waiter& waiter, void (*visit)(const Chain&, void*), void* context) {
    visit(static_cast<const ShieldAwaiter&>(waiter).branch_, context);
  }
  static constexpr WaitKind kKind{.name = "a shielded task", .cancel = &ignore, .children = &children};
  Shielded branch_;
};

/// Asks `chain` and the work that it has shielded to stop. The chain's thread.
HORUS_API void stop_shielded(Chain& chain) noexcept;

}  // namespace detail

/// Runs `task` to its end even when the awaiting task is asked to stop meanwhile, or was asked before. The operations
/// of `task` are not cancelled, so keep it short and bounded: an emergency stop grants it 100 ms. `co_await
/// horus::shield(file.close());`
template <class T>
[[nodiscard]] auto shield(Task<T> task) {
  return detail::ShieldAwaiter<T>(std::move(task));
}

}  // namespace horus::HORUS_ABI
