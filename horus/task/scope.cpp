// SPDX-License-Identifier: Apache-2.0
#include <horus/task/scope.hpp>

#include <atomic>
#include <exception>
#include <map>

#include <fmt/format.h>

#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/task/blocking_join.hpp>
#include <horus/task/cancellation.hpp>
#include <horus/task/log_clock.hpp>
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI {

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

namespace detail {

Error not_awaited(int code, const SpawnedChain* task) {
  std::string target = task != nullptr ? "the task \"" + task->name() + '"' : "a spawned task";
  if (code == EBUSY) target += " (another task waits for it already: share its value, not its handle)";
  return Error(code, "wait for", target);
}

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

std::string Scope::dump() const {
  std::string text;
  tasks_.for_each([&](const detail::SpawnedChain& task) { text += dump_chain(task); });
  return text;
}

void Scope::add(detail::SpawnedChain& task) {
  HORUS_ASSERT(detail::thread_state.ready != nullptr,
               "Scope::spawn on a thread that runs no reactor (do it inside a task, or make a "
               "horus::io::Reactor first)");
  ++running_;
  tasks_.push_back(task);
  task.charge_to(account_);
  detail::list_root(task);
  if (stopping_) task.request_stop();
  detail::thread_state.ready->push(task);
}

void Scope::cancel() noexcept {
  stopping_ = true;
  tasks_.for_each([](detail::SpawnedChain& task) { task.request_stop(); });
}

void Scope::stop_shielded() noexcept {
  cancel();
  tasks_.for_each([](detail::SpawnedChain& task) { detail::stop_shielded(task); });
}

namespace {

// Failures of one kind: the same error of the same operation, or the same exception.
constexpr std::size_t kKinds = 32;  // of one scope; further ones share the last place
struct FailureLog {
  std::map<std::string, detail::QuietLog> kinds;

  detail::QuietLog& of(const std::string& kind) {
    const auto known = kinds.find(kind);
    if (known != kinds.end()) return known->second;
    return kinds[kinds.size() < kKinds ? kind : "failures of many kinds"];
  }
};
// Of this thread's scopes, while they live.
thread_local std::map<const Scope*, FailureLog> failure_logs;

std::atomic<detail::LogClock> log_clock{&monotonic_ns};

void log_quietly(FailureLog& log, LogLevel level, const std::string& kind, const std::string& line) {
  detail::QuietLog& quiet = log.of(kind);
  if (quiet.may(log_clock.load(std::memory_order_relaxed)())) log_line(level, line + quiet.more());
}

void log_failure(FailureLog& log, const std::string& task, const std::exception_ptr& failure,
                 const Error* error) noexcept {
  const auto expected = [&](const Error& one) {
    log_quietly(log, LogLevel::warning, one.operation() + (": " + describe_code(one.code())),
                task + ": " + one.message());
  };
  try {
    if (error != nullptr) return expected(*error);
    std::rethrow_exception(failure);
  } catch (const Error& one) {
    expected(one);
  } catch (const std::exception& bug) {
    log_quietly(log, LogLevel::error, bug.what(), task + " threw an exception: " + bug.what());
  } catch (...) {
    log_quietly(log, LogLevel::error, "an exception that is not a std::exception",
                task + " threw an exception that is not a std::exception");
  }
}

// What the last lines held back.
void end_failure_log(const Scope& scope, const std::string& name) noexcept {
  const auto found = failure_logs.find(&scope);
  if (found == failure_logs.end()) return;
  for (const auto& [kind, quiet] : found->second.kinds) {
    if (quiet.held_back() > 0) log_warning(fmt::format("{}: {} more of: {}", name, quiet.held_back(), kind));
  }
  failure_logs.erase(found);
}

}  // namespace

void detail::set_log_clock(LogClock clock) noexcept { log_clock.store(clock, std::memory_order_relaxed); }

namespace {
std::atomic<detail::BlockingJoin> blocking_join{nullptr};
}

void detail::set_blocking_join(BlockingJoin join) noexcept {
  blocking_join.store(join, std::memory_order_release);
}

// An exception that passes a scope (EMFILE, say) is what somebody has to hear of: the tasks, which may use what dies
// behind the scope, are cancelled and waited for here, and it goes on. Without one it is a mistake of the program.
Scope::~Scope() {
  if (running_ > 0 && std::uncaught_exceptions() > 0) {
    log_warning(
        fmt::format("scope {}: an exception passes it while {} tasks run; they are cancelled and awaited",
                    name_, running_));
    cancel();
    failures_ = Failures::log;  // nobody is left who could take them
    const detail::BlockingJoin join = blocking_join.load(std::memory_order_acquire);
    const auto ended = [](const void* scope) noexcept {
      return static_cast<const Scope*>(scope)->running_ == 0;
    };
    if (join != nullptr) static_cast<void>(join(ended, this));
  }
  if (running_ == 0) {
    end_failure_log(*this, name_);
    return;
  }
  std::string names = "a Scope died with running tasks (co_await scope.join() first";
  if (std::uncaught_exceptions() > 0) {
    names +=
        "; here an exception left its block before: catch that and see what it says, or use with_scope(), "
        "which joins "
        "either way";
  }
  names += "):\n";
  tasks_.for_each([&](const detail::SpawnedChain& task) { names += dump_chain(task); });
  HORUS_ASSERT(running_ == 0, names.c_str());
}

void Scope::ended(detail::SpawnedChain& task, std::exception_ptr failure, const Error* error) noexcept {
  --running_;
  if (failures_ == Failures::log) {
    if (failure || error != nullptr) log_failure(failure_logs[this], task.name(), failure, error);
  } else if (failure && !failure_) {
    failure_ = std::move(failure);
    cancel();
  }
  if (running_ > 0 || joiners_.empty()) return;
  const std::exception_ptr first = std::exchange(failure_, nullptr);
  while (JoinAwaiter* joiner = joiners_.pop_front()) {
    joiner->failure_ = first;
    joiner->make_ready();
  }
}

namespace {
void stop_children(Waiter& waiter) noexcept { static_cast<Scope::JoinAwaiter&>(waiter).scope_.cancel(); }
constexpr WaitKind kJoin{.name = "the tasks of a scope", .cancel = &stop_children};
}  // namespace

Scope::JoinAwaiter::JoinAwaiter(Scope& scope) noexcept : Waiter(&kJoin), scope_(scope) {}

}  // namespace horus::HORUS_ABI
