// SPDX-License-Identifier: Apache-2.0
#include <horus/task/scope.hpp>

#include <horus/base/log.hpp>

namespace horus {

const char* to_string(TaskState state) noexcept {
  switch (state) {
    case TaskState::pending: return "pending";
    case TaskState::running: return "running";
    case TaskState::resolved: return "resolved";
    case TaskState::rejected: return "rejected";
    case TaskState::cancelled: return "cancelled";
  }
  return "?";
}

namespace {

bool is_cancellation(const std::exception_ptr& exception) noexcept {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return error.cancelled();
  } catch (...) {
    return false;
  }
}

}  // namespace

namespace detail {

std::coroutine_handle<> SpawnedChain::settle(std::exception_ptr exception, const Error* error) noexcept {
  const bool cancelled = stop_requested() && ((exception && is_cancellation(exception)) ||
                                              (error != nullptr && error->cancelled()));
  if (cancelled) {
    state_ = TaskState::cancelled;
  } else {
    state_ = exception || error != nullptr ? TaskState::rejected : TaskState::resolved;
  }
  ListHook<RootTag>::unlink();
  ListHook<ScopeTag>::unlink();
  if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->make_ready();
  const bool unseen = !cancelled && !has_handle_;
  scope_->ended(*this, unseen ? std::move(exception) : nullptr, unseen ? error : nullptr);
  release();
  return std::noop_coroutine();
}

}  // namespace detail

Scope::~Scope() {
  if (running_ == 0) return;
  std::string names = "a Scope died with running tasks (co_await scope.join() first):\n";
  tasks_.for_each([&](const detail::SpawnedChain& task) { names += dump_chain(task); });
  HORUS_ASSERT(running_ == 0, names.c_str());
}

void Scope::add(detail::SpawnedChain& task) {
  HORUS_ASSERT(detail::thread_state.ready != nullptr,
               "Scope::spawn on a thread that runs no reactor (do it inside a task, or make a "
               "horus::io::Reactor first)");
  ++running_;
  tasks_.push_back(task);
  detail::list_root(task);
  if (stopping_) task.request_stop();
  detail::thread_state.ready->push(task);
}

void Scope::cancel() noexcept {
  stopping_ = true;
  tasks_.for_each([](detail::SpawnedChain& task) { task.request_stop(); });
}

namespace {

void log_failure(const std::string& task, const std::exception_ptr& failure, const Error* error) noexcept {
  try {
    if (error != nullptr) return log_warning(task + ": " + error->message());
    std::rethrow_exception(failure);
  } catch (const Error& expected) {
    log_warning(task + ": " + expected.message());
  } catch (const std::exception& bug) {
    log_error(task + " threw an exception: " + bug.what());
  } catch (...) {
    log_error(task + " threw an exception that is not a std::exception");
  }
}

}  // namespace

void Scope::ended(detail::SpawnedChain& task, std::exception_ptr failure, const Error* error) noexcept {
  --running_;
  if (failures_ == Failures::log) {
    if (failure || error != nullptr) log_failure(task.name(), failure, error);
  } else if (failure && !failure_) {
    failure_ = std::move(failure);
    cancel();
  }
  if (running_ == 0 && joiner_ != nullptr) std::exchange(joiner_, nullptr)->make_ready();
}

namespace {
void stop_children(Waiter& waiter) noexcept { static_cast<Scope::JoinAwaiter&>(waiter).scope_.cancel(); }
constexpr WaitKind kJoin{.name = "the tasks of a scope", .cancel = &stop_children};
}  // namespace

Scope::JoinAwaiter::JoinAwaiter(Scope& scope) noexcept : Waiter(&kJoin), scope_(scope) {}

}  // namespace horus
