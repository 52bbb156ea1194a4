// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/executor.hpp>

#include <algorithm>
#include <optional>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus::detail {
namespace {

constexpr int kUnsuspendedTicks = 1000;  // in a row, then one warning
constexpr std::size_t kMaxCommands = 1024;
constexpr Duration kDrainLimit = std::chrono::milliseconds(500);  // of a tick, before its node is stuck

bool later(const NodeRecord* a, const NodeRecord* b) { return a->next_release() > b->next_release(); }

bool by_priority(const NodeRecord* a, const NodeRecord* b) {
  if (a->settings.priority != b->settings.priority) return a->settings.priority < b->settings.priority;
  return a->index < b->index;
}
bool by_rate(const NodeRecord* a, const NodeRecord* b) {
  if (a->settings.rate.hz != b->settings.rate.hz) return a->settings.rate.hz > b->settings.rate.hz;
  return by_priority(a, b);
}
bool by_deadline(const NodeRecord* a, const NodeRecord* b) {
  const std::int64_t first = a->absolute_deadline(), second = b->absolute_deadline();
  return first != second ? first < second : by_priority(a, b);
}

Task<> join_scope(Scope& scope) {
  scope.cancel();
  co_await scope.join();
  scope.reset();
}

Task<> wait_for_end(NodeRecord& record) { co_await record.ended.wait(); }

Task<> call_init(NodeRecord& record) {
  if (record.plain_node != nullptr) {
    record.plain_node->init();
  } else {
    auto init = record.coroutine_node->init();
    co_await init;
  }
}

Task<> call_shutdown(NodeRecord& record) {
  if (record.plain_node != nullptr) {
    record.plain_node->shutdown();
  } else {
    auto shutdown = record.coroutine_node->shutdown();
    co_await shutdown;
  }
}

}  // namespace

ThreadTimes ThreadTimes::now() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto ns = [](const timeval& time) {
    return time.tv_sec * std::int64_t{1'000'000'000} + time.tv_usec * 1000;
  };
  return {now_ns(), ns(usage.ru_utime), ns(usage.ru_stime),
          static_cast<std::int64_t>(io::Reactor::current()->statistics().asleep_ns)};
}

Executor::~Executor() { ListHook<io::LookoutTag>::unlink(); }

// --- Attached to a loop -----------------------------------------------------------------------------------------------

void Executor::attach() {
  io::Reactor* const reactor = io::Reactor::current();
  reactor_.store(reactor, std::memory_order_relaxed);
  waker_ = reactor->waker();
  thread_ = ::pthread_self();
  thread_id_ = ::gettid();
  safe_ = false;
  attached_ = ThreadTimes::now();
  reactor->watch(*this);
  attention_.store(true, std::memory_order_relaxed);  // whatever was asked for before
  const std::lock_guard lock(mutex_);
  is_attached_ = true;
  poked_.store(reactor, std::memory_order_seq_cst);
}

void Executor::detach() {
  {
    const std::lock_guard lock(mutex_);
    is_attached_ = false;
    for (const auto& command : std::exchange(commands_, {})) command();
  }
  poked_.store(nullptr, std::memory_order_seq_cst);
  while (pokers_.load(std::memory_order_seq_cst) != 0) ::sched_yield();
  ListHook<io::LookoutTag>::unlink();
  stop.reset();
  waker_.reset();
  reactor_.store(nullptr, std::memory_order_relaxed);
}

void Executor::poke() noexcept {
  attention_.store(true, std::memory_order_seq_cst);
  // detach() waits for whoever may still use the reactor.
  pokers_.fetch_add(1, std::memory_order_seq_cst);
  if (io::Reactor* reactor = poked_.load(std::memory_order_seq_cst)) reactor->interrupt();
  pokers_.fetch_sub(1, std::memory_order_seq_cst);
}

void Executor::tell(std::function<void()> work) {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (!is_attached_) return work();  // with the lock, or a run could begin meanwhile
      if (commands_.size() < kMaxCommands) {
        commands_.push_back(std::move(work));
        attention_.store(true, std::memory_order_seq_cst);
        waker_->wake();
        return;
      }
    }
    ::sched_yield();
  }
}

bool Executor::before_sleep() noexcept {
  const bool come = attention_.load(std::memory_order_relaxed);
  if (come) look();
  return come;
}

void Executor::look() noexcept {
  if (!attention_.load(std::memory_order_relaxed) || !attention_.exchange(false, std::memory_order_acq_rel))
    return;
  if (scheduler_.stop_is_requested()) stop.set();
  scheduler_.pass_on(*this);
  if (scheduler_.emergency_stopped() != safe_) {
    safe_ = !safe_;
    if (safe_) enter_safe_states();
    // Event-driven nodes look again whether they may tick.
    for (NodeRecord* record : nodes) {
      if (!safe_ && record->state() == NodeState::running) record->runnable.set();
    }
  }
  take_commands();
  for (NodeRecord* record : nodes) record->climb_ladder();
}

void Executor::take_commands() noexcept {
  std::vector<std::function<void()>> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) command();
}

void Executor::enter_safe_states() noexcept {
  const std::int64_t now = now_ns();
  timeline.add({now, now, 0, TimelineEvent::Kind::emergency_stop, 0});
  std::vector<NodeRecord*> order = nodes;
  std::sort(order.begin(), order.end(), by_priority);
  for (NodeRecord* record : order) record->enter_safe_state();
}

std::string Executor::time_shares() const {
  if (!is_here() || io::Reactor::current()->backend().has_virtual_clock()) return {};
  const ThreadTimes now = ThreadTimes::now();
  const double wall = static_cast<double>(std::max<std::int64_t>(now.wall - attached_.wall, 1));
  const auto percent = [wall](std::int64_t ns) { return 100 * static_cast<double>(ns) / wall; };
  std::string text = fmt::format(
      "\n{}: asleep {:.1f} %, in the kernel {:.1f} %, running {:.1f} %, of that in ticks:",
      name_.empty() ? "the scheduler's thread" : "executor " + name_, percent(now.asleep - attached_.asleep),
      percent(now.kernel - attached_.kernel), percent(now.user - attached_.user));
  for (const NodeRecord* record : nodes) {
    const Histogram& execution = record->statistics().execution;
    const double share = 100 * execution.mean() * static_cast<double>(execution.count()) / wall;
    if (share >= 0.05) text += fmt::format(" {} {:.1f} %", record->node_name(), share);
  }
  return text + "\n";
}

// --- Lives of nodes ---------------------------------------------------------------------------------------------------

// With auto_restart a node whose init() fails is tried again beside everything else.
Task<bool> Executor::start_node(NodeRecord& record) {
  record.set_state(NodeState::initialising);
  std::exception_ptr failure;
  try {
    auto init = call_init(record);
    co_await init;
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) {
    record.begin_life(false);
    co_return true;
  }
  if (is_cancellation(failure)) {
    record.set_state(NodeState::failed);
    co_return false;
  }
  std::string line;
  describe_failure(failure, line);
  record.note_error(line);
  log_error(fmt::format("{}: init failed: {}", record.node_name(), line));
  if (!record.restarts_itself()) {
    record.set_state(NodeState::failed);
    co_return false;
  }
  restart(record, false);
  co_return true;
}

Task<bool> Executor::start_nodes() {
  started_ = true;
  try {
    scheduler_.open_ports(nodes);
  } catch (const Error& error) {
    log_error(error.message());
    co_return false;
  }
  for (NodeRecord* record : nodes) {
    auto starting = start_node(*record);
    const bool started = co_await starting;
    if (!started) co_return false;
  }
  co_return true;
}

void Executor::restart(NodeRecord& record, bool by_hand) {
  if (stopping_) return;
  const NodeState state = record.state();
  if (state == NodeState::restarting || state == NodeState::stopping || state == NodeState::added) return;
  record.set_state(NodeState::restarting);
  static_cast<void>(restarts_.spawn(begin_anew(record, by_hand), record.node_name() + " restart"));
}

Task<> Executor::wait_for_tick(NodeRecord& record, Duration limit) {
  if (!record.in_flight()) co_return;
  auto ending = wait_for_end(record);
  auto ended = co_await with_timeout(limit, std::move(ending));
  if (ended) co_return;
  record.set_stuck(NodeState::restarting);
  co_await record.ended.wait();
}

// Background work, then shutdown(); a failure is logged.
Task<> Executor::shut_down(NodeRecord& record) {
  record.forget_tick();
  std::exception_ptr failure;
  try {
    auto joining = join_scope(record.node->scope_);
    co_await joining;
    auto shutdown = call_shutdown(record);
    auto done = co_await with_timeout(scheduler_.config().shutdown_limit, std::move(shutdown));
    std::move(done).or_throw();
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  std::string line;
  describe_failure(failure, line);
  log_error(fmt::format("{}: shutdown failed: {}", record.node_name(), line));
}

Task<> Executor::begin_anew(NodeRecord& record, bool by_hand) {
  const bool lived = record.statistics().uptime_seconds > 0;
  if (record.in_flight()) {
    record.cancel_tick(TickOutcome::cancelled_shutdown);
    auto waiting = wait_for_tick(record, kDrainLimit);
    co_await waiting;
  }
  if (lived) {
    auto shutting_down = shut_down(record);
    co_await shutting_down;
  }
  while (true) {
    const std::optional<Duration> delay = by_hand ? Duration::zero() : record.restart_policy().next(now_ns());
    by_hand = false;
    if (!delay) {
      record.set_state(NodeState::stopped);
      log_error(fmt::format("{}: failed again after {} restarts; it stays stopped{}", record.node_name(),
                            record.restart_policy().config().most,
                            record.settings.critical ? ", and as it is critical: emergency stop" : ""));
      if (record.settings.critical) scheduler_.emergency_stop();
      co_return;
    }
    co_await sleep(*delay);
    std::exception_ptr failure;
    try {
      auto init = call_init(record);
      co_await init;
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) break;
    if (is_cancellation(failure)) std::rethrow_exception(failure);
    std::string line;
    describe_failure(failure, line);
    record.note_error(line);
    log_warning(fmt::format("{}: init failed: {}", record.node_name(), line));
  }
  log_info(fmt::format("{}: restarted", record.node_name()));
  record.begin_life(true);
}

// Ticks of periodic nodes get time to finish; an event-driven one waits for input that may never come, so it is asked
// to stop at once. Then the background work, then shutdown() in reverse order.
Task<> Executor::stop_nodes() {
  if (!started_) co_return;
  stopping_ = true;
  for (NodeRecord* record : nodes) record->leave(now_ns());
  auto ending_restarts = join_scope(restarts_);
  try {
    co_await ending_restarts;
  } catch (const Error&) {
    // A restart that was cut short.
  }
  const std::int64_t finish_by = saturating_add(now_ns(), scheduler_.config().finish_limit.count());
  for (NodeRecord* record : nodes) {
    if (record->in_flight() && !record->periodic()) record->cancel_tick(TickOutcome::cancelled_shutdown);
  }
  for (NodeRecord* record : nodes) {
    if (!record->in_flight()) continue;
    if (record->periodic()) {
      auto wait = wait_for_end(*record);
      auto finished =
          co_await with_timeout(Duration(std::max<std::int64_t>(finish_by - now_ns(), 0)), std::move(wait));
      if (!finished) record->cancel_tick(TickOutcome::cancelled_shutdown);
    }
    co_await record->ended.wait();
  }
  for (auto position = nodes.rbegin(); position != nodes.rend(); ++position) {
    NodeRecord& record = **position;
    const NodeState state = record.state();
    const bool lives = state == NodeState::running || state == NodeState::paused || state == NodeState::stuck;
    record.end_life();
    if (lives) {
      record.set_state(NodeState::stopping);
      auto shutting_down = shut_down(record);
      co_await shutting_down;
      record.set_state(NodeState::stopped);
    } else {
      auto joining = join_scope(record.node->scope_);
      try {
        co_await joining;
      } catch (const std::exception& error) {
        log_error(fmt::format("{}: {}", record.node_name(), error.what()));
      }
    }
    record.node->scheduler_ = nullptr;
  }
  started_ = stopping_ = false;
}

// --- Releasing --------------------------------------------------------------------------------------------------------

void Executor::release_due(std::int64_t now) {
  due_.clear();
  while (!releases_.empty() && releases_.front()->next_release() <= now) {
    std::pop_heap(releases_.begin(), releases_.end(), later);
    due_.push_back(releases_.back());
    releases_.pop_back();
  }
  switch (scheduler_.config().policy) {
    case Policy::priority: std::sort(due_.begin(), due_.end(), by_priority); break;
    case Policy::rate_monotonic: std::sort(due_.begin(), due_.end(), by_rate); break;
    case Policy::edf: std::sort(due_.begin(), due_.end(), by_deadline); break;
  }
  for (NodeRecord* record : due_) {
    const std::int64_t grid_point = record->advance_grid(now);
    if (!scheduler_.stop_is_requested()) now = record->offer(grid_point, now);
    releases_.push_back(record);
    std::push_heap(releases_.begin(), releases_.end(), later);
  }
}

Task<> Executor::release_loop() {
  const std::int64_t start = now_ns();
  releases_.clear();
  for (NodeRecord* record : nodes) {
    if (!record->periodic()) continue;
    record->start_grid(start);
    releases_.push_back(record);
  }
  std::make_heap(releases_.begin(), releases_.end(), later);
  while (!releases_.empty()) {
    // Also when it has come already: an overloaded loop must still see its timers, its completions and a stop.
    co_await sleep_until(TimePoint(Duration(releases_.front()->next_release())));
    release_due(now_ns());
    co_await yield();
  }
}

// An event-driven node: again as soon as it has ended, through the ready list. One that fails is tried again after a
// pause that doubles up to a second, or a dead peer would keep the processor busy.
Task<> Executor::event_loop(NodeRecord& record) {
  int unsuspended = 0;
  while (true) {
    if (scheduler_.emergency_stopped()) record.runnable.reset();
    co_await record.runnable.wait();
    const std::int64_t rest = record.rest(now_ns());
    if (rest == kNever) {  // until its circuit is reset or it has been restarted
      record.runnable.reset();
      continue;
    }
    if (rest > 0) {
      co_await sleep(Duration(rest));
      if (record.state() != NodeState::running || scheduler_.emergency_stopped()) continue;
    }
    if (scheduler_.stop_is_requested()) co_return;
    const std::int64_t now = now_ns();
    record.offer(now, now);
    if (record.in_flight()) {
      unsuspended = 0;
      co_await record.ended.wait();
    } else {
      if (++unsuspended == kUnsuspendedTicks && record.logs()) {
        log_warning(
            fmt::format("{}: {} ticks in a row awaited nothing; give the node a rate, or await its input",
                        record.node_name(), kUnsuspendedTicks));
      }
      co_await sleep(Duration::zero());  // rather than a yield: the loop turns, and a stop is heard
    }
  }
}

Task<> Executor::release() {
  for (NodeRecord* record : nodes) {
    if (!record->periodic())
      static_cast<void>(scope_.spawn(event_loop(*record), record->node_name() + " loop"));
  }
  // Last: the grid begins when every event-driven node has started its first tick.
  static_cast<void>(scope_.spawn(release_loop(), "releases"));
  try {
    co_await stop.wait();
  } catch (const Error&) {
    // The task that runs us was asked to stop: the same as stop().
  }
  auto joining = join_scope(scope_);
  co_await shield(std::move(joining));
  releases_.clear();
}

Task<> Executor::release_once() {
  const std::int64_t now = now_ns();
  std::vector<NodeRecord*> order = nodes;
  std::sort(order.begin(), order.end(), by_priority);
  for (NodeRecord* record : order) record->offer(now, now_ns());
  for (NodeRecord* record : order) co_await record->ended.wait();
}

}  // namespace horus::detail
