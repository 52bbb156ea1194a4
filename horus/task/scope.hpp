// SPDX-License-Identifier: Apache-2.0
// Scope: tasks that run side by side and never outlive the place that started them (a nursery).
// One thread. A Scope owns its running tasks; a Spawned<T> handle shares the finished result.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <horus/base/intrusive_list.hpp>
#include <horus/base/result.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

class Scope;
struct JoinTag;

/// The state of a spawned task. A task that ended with a failed Result counts as rejected; one that failed with
/// ECANCELED after it was asked to stop counts as cancelled.
enum class TaskState : std::uint8_t { pending, running, resolved, rejected, cancelled };

HORUS_API const char* to_string(TaskState state) noexcept;

/// How a scope reacts to a failed task whose handle was dropped.
enum class Failures : std::uint8_t {
  /// After an exception the other tasks are asked to stop, and join() rethrows the first exception.
  stop_all,
  /// An exception or a failed Result is one line with the task's name in the log; the others go on.
  log,
};

namespace detail {

struct ScopeTag;

template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<Result<T>> = true;

// A spawned task: its chain, its place in the scope, its waiting handle. Counted by scope and handle.
class HORUS_API SpawnedChain : public Chain, public ListHook<ScopeTag>, public Ready {
 public:
  explicit SpawnedChain(Scope& scope, std::string name) : name_(std::move(name)), scope_(&scope) {}
  [[nodiscard]] std::string_view label() const noexcept override { return name_; }

  static void* operator new(std::size_t size) { return allocate_frame(size); }
  static void operator delete(void* state, std::size_t size) noexcept { free_frame(state, size); }

  void release() noexcept {
    if (--references_ == 0) delete this;
  }
  [[nodiscard]] bool done() const noexcept { return state_ > TaskState::running; }
  // Whoever looks is another coroutine of this thread, so a task that began is suspended at some await by now.
  [[nodiscard]] TaskState state() const noexcept {
    return state_ == TaskState::pending && began() ? TaskState::running : state_;
  }
  /// False when another task waits already: the value can be taken once.
  [[nodiscard]] bool wait(Waiter& waiter) noexcept {
    if (waiter_ != nullptr) return false;
    waiter_ = &waiter;
    return true;
  }
  void stop_waiting() noexcept { waiter_ = nullptr; }
  void drop_handle() noexcept {
    has_handle_ = false;
    release();
  }

 protected:
  friend class horus::Scope;
  [[nodiscard]] virtual bool began() const noexcept = 0;
  std::coroutine_handle<> settle(std::exception_ptr exception, const Error* error) noexcept;

 private:
  std::string name_;
  Scope* scope_;
  Waiter* waiter_ = nullptr;
  int references_ = 2;
  bool has_handle_ = true;
  TaskState state_ = TaskState::pending;
};

template <class T>
class SpawnedTask final : public SpawnedChain {
 public:
  SpawnedTask(Scope& scope, std::string name, Task<T> task)
      : SpawnedChain(scope, std::move(name)), task_(std::move(task)) {
    handle = task_.prepare(*this);
    promise = &task_.outcome();
  }
  T take() { return task_.outcome().take(); }

  std::coroutine_handle<> finished() noexcept override {
    const Error* error = nullptr;
    if constexpr (is_result<T>) {
      const T* value = task_.outcome().peek();
      if (value != nullptr && !value->ok()) error = &value->error();
    }
    return settle(task_.outcome().exception(), error);
  }

 protected:
  [[nodiscard]] bool began() const noexcept override { return task_.outcome().where.line() != 0; }

 private:
  Task<T> task_;
};

}  // namespace detail

namespace detail {

// Why a task was not waited for to its end; null: another waiter has taken its value meanwhile.
HORUS_API Error not_awaited(int code, const SpawnedChain* task);

}  // namespace detail

/// Handle of a spawned task. Dropping it leaves the task running in its scope; a failure without a
/// handle is reported by Scope::join().
///
/// Thread safety: the scope's thread.
template <class T>
class Spawned {
 public:
  Spawned() noexcept = default;
  Spawned(Spawned&& other) noexcept : task_(std::exchange(other.task_, nullptr)) {}
  Spawned& operator=(Spawned&& other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~Spawned() {
    if (task_ != nullptr) task_->drop_handle();
  }

  /// False before the first assignment and after a move.
  [[nodiscard]] bool valid() const noexcept { return task_ != nullptr; }
  explicit operator bool() const noexcept { return valid(); }
  /// True once the task has ended, however it ended.
  [[nodiscard]] bool done() const noexcept { return task_ != nullptr && task_->done(); }
  [[nodiscard]] TaskState state() const noexcept {
    return task_ == nullptr ? TaskState::pending : task_->state();
  }
  /// Asks the task to stop; it has ended when `done()` is true.
  void cancel() noexcept {
    if (task_ != nullptr && !task_->done()) task_->request_stop();
  }
  /// The value of a task that is done(); rethrows its exception. Leaves the handle empty.
  T take() {
    HORUS_ASSERT(done(), "Spawned::take() before the task is done");
    auto task = std::exchange(task_, nullptr);
    const Dropper dropper{task};
    return task->take();
  }

  struct Awaiter : Waiter {
    explicit Awaiter(Spawned& spawned) noexcept : Waiter(&kKind), spawned_(spawned) {}
    [[nodiscard]] bool await_ready() const noexcept { return spawned_.done(); }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) {
        refused_ = ECANCELED;
      } else if (!spawned_.task_->wait(*this)) {
        refused_ = EBUSY;
      } else {
        return true;
      }
      unsuspend();
      return false;
    }
    T await_resume() {
      if (refused_ != 0) throw detail::not_awaited(refused_, spawned_.task_);
      return spawned_.take();
    }

   private:
    static void cancel(Waiter& waiter) noexcept {
      auto& self = static_cast<Awaiter&>(waiter);
      self.refused_ = ECANCELED;
      self.spawned_.task_->stop_waiting();
      self.make_ready();
    }
    static void describe(const Waiter& waiter, std::string& line) {
      line += " \"" + static_cast<const Awaiter&>(waiter).spawned_.task_->name() + '"';
    }
    static constexpr WaitKind kKind{
        .name = "the spawned task", .cancel = &Awaiter::cancel, .describe = &Awaiter::describe};
    Spawned& spawned_;
    int refused_ = 0;  // errno
  };
  /// Waits for the end and takes the value; only one task can do so. Cancelling the waiter does not cancel the task.
  /// Errors: Error(ECANCELED) for a cancelled waiter; Error(EBUSY) when another task waits for it already.
  Awaiter operator co_await() noexcept {
    HORUS_ASSERT(task_ != nullptr, "co_await of an empty Spawned handle");
    return Awaiter(*this);
  }

 private:
  friend class Scope;
  struct Dropper {
    detail::SpawnedTask<T>* task;
    ~Dropper() { task->drop_handle(); }
  };
  explicit Spawned(detail::SpawnedTask<T>* task) noexcept : task_(task) {}
  detail::SpawnedTask<T>* task_ = nullptr;
};

/// Runs tasks side by side and waits for all of them.
///
/// Semantics: `spawn` starts a task through the ready list, never inline. When a task without a handle throws, the
/// others are asked to stop and `join()` rethrows its exception. Join a scope before it is destroyed. Destroying one
/// with running tasks ends the program with their names, unless an exception is propagating: then the tasks are
/// cancelled and awaited on the spot, and the exception continues. `with_scope` does all this by itself. A server
/// whose connections must not end each other uses `Scope("connections", Failures::log)`.
/// Thread safety: one thread.
/// Example:
/// ```
/// co_await horus::with_scope([&](horus::Scope& scope) -> horus::Task<> {
///   scope.spawn(pump(a, b));
///   scope.spawn(pump(b, a));
///   co_return;
/// });
/// ```
class HORUS_API Scope {
 public:
  explicit Scope(std::string name = "scope", Failures failures = Failures::stop_all)
      : name_(std::move(name)), failures_(failures) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope();
  /// The operations that its tasks wait for, as text for a person.
  [[nodiscard]] std::string dump() const;
  /// The account that its tasks are charged to from now on; null: none.
  void charge_to(ExecutionAccount* account) noexcept { account_ = account; }

  /// Starts `task` soon. Keep the handle to see how it ends, or drop it.
  template <class T>
  Spawned<T> spawn(Task<T> task, std::string name = {}) {
    if (name.empty()) name = name_;
    auto* spawned = new detail::SpawnedTask<T>(*this, std::move(name), std::move(task));
    add(*spawned);
    return Spawned<T>(spawned);
  }
  /// The same for a coroutine lambda. It is kept, with its captures, until its task has ended.
  template <class F>
    requires detail::is_task<std::invoke_result_t<F&>>
  auto spawn(F lambda, std::string name = {}) {
    return spawn(detail::with_captures(std::move(lambda)), std::move(name));
  }
  /// Asks every running task to stop; tasks spawned later are asked at once, until reset().
  void cancel() noexcept;
  /// The same, and asks shielded work to stop as well, because its time is up.
  void stop_shielded() noexcept;
  /// After a join: allows tasks to be spawned again.
  void reset() noexcept { stopping_ = false; }
  [[nodiscard]] std::size_t running() const noexcept { return running_; }

  struct JoinAwaiter : Waiter, ListHook<JoinTag> {
    explicit JoinAwaiter(Scope& scope) noexcept;
    [[nodiscard]] bool await_ready() noexcept {
      if (scope_.running_ > 0) return false;
      failure_ = std::exchange(scope_.failure_, nullptr);
      return true;
    }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      scope_.joiners_.push_back(*this);
      // A join cannot be refused, or tasks would outlive their scope: it stops them and waits.
      if (!suspend(awaiting)) scope_.cancel();
    }
    // Another joiner may have ended the scope's life by now.
    void await_resume() {
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }
    Scope& scope_;
    std::exception_ptr failure_;
  };
  /// Waits until every task has ended; rethrows the first failure that had no handle. When the joining chain is asked
  /// to stop, the tasks are asked too, and the join still waits for them. Several tasks may join: each of them gets
  /// the failure.
  JoinAwaiter join() noexcept { return JoinAwaiter(*this); }

 private:
  friend class detail::SpawnedChain;
  void add(detail::SpawnedChain& task);
  void ended(detail::SpawnedChain& task, std::exception_ptr failure, const Error* error) noexcept;

  std::string name_;
  IntrusiveList<detail::SpawnedChain, detail::ScopeTag> tasks_;
  IntrusiveList<JoinAwaiter, JoinTag> joiners_;
  ExecutionAccount* account_ = nullptr;
  std::exception_ptr failure_;
  std::size_t running_ = 0;
  bool stopping_ = false;
  Failures failures_;
};

namespace detail {

template <class T, class Body>
Task<> run_body(Body& body, Scope& scope, std::optional<T>& value) {
  auto task = body(scope);
  value.emplace(co_await task);
}
template <class Body>
Task<> run_body(Body& body, Scope& scope, bool& completed) {
  auto task = body(scope);
  co_await task;
  completed = true;
}

}  // namespace detail

/// Runs `body(scope)` and every task that it spawns, and waits for all of them. The first failure of the body, or of
/// a task whose handle was dropped, stops the rest and is rethrown. Returns the body's value.
template <class Body, class T = typename std::invoke_result_t<Body&, Scope&>::value_type>
Task<T> with_scope(Body body, std::string name = "scope") {
  Scope scope(std::move(name));
  std::conditional_t<std::is_void_v<T>, bool, std::optional<T>> value{};
  static_cast<void>(scope.spawn(detail::run_body(body, scope, value)));
  co_await scope.join();
  if (!value) throw Error(ECANCELED, "with_scope");
  if constexpr (!std::is_void_v<T>) co_return std::move(*value);
}

}  // namespace horus::HORUS_ABI
