// SPDX-License-Identifier: Apache-2.0
// How nodes begin, begin anew and end: the executor's part that awaits init() and shutdown().
#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/data/absence.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr Duration kDrainLimit = std::chrono::milliseconds(500);  // of a tick, before its node is stuck
constexpr Duration kStartPatience = std::chrono::seconds(10);     // of all for the slowest init()
constexpr Duration kFirstInitLine = std::chrono::seconds(5);
constexpr Duration kFurtherInitLines = std::chrono::seconds(30);

Task<> join_scope(Scope& scope) {
  scope.cancel();
  co_await scope.join();
  scope.reset();
}

Task<> join_quietly(Scope& scope) {
  try {
    co_await scope.join();
  } catch (const std::exception&) {
    // Its handle tells.
  }
}

Task<> wait_for_event(Event& event) { co_await event.wait(); }

Task<> wait_for_end(NodeRecord& record) { co_await record.ended.wait(); }

// Until it dies, an init() or a shutdown() of the node is under way.
class Busy {
 public:
  explicit Busy(NodeRecord& record) noexcept : record_(record) { record_.idle.reset(); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { record_.idle.set(); }

 private:
  NodeRecord& record_;
};

Task<> call_init(NodeRecord& record) {
  const Busy busy(record);
  if (record.plain_node != nullptr) {
    record.plain_node->init();
  } else {
    auto init = record.coroutine_node->init();
    co_await init;
  }
}

Task<std::exception_ptr> outcome_of_init(NodeRecord& record) {
  try {
    auto init = call_init(record);
    co_await init;
  } catch (...) {
    co_return std::current_exception();
  }
  co_return nullptr;
}

// Ends when the loop has turned for so long. Time in which the process was stopped, or somebody else blocked the loop, is
// not the init()'s: of a stretch without a turn only its beginning counts.
Task<> turned_for(Duration limit) {
  static constexpr Duration kSlice{50'000'000};
  for (Duration left = limit; left > Duration::zero();) {
    const Duration slice = std::min(left, kSlice);
    const std::int64_t began = now_ns();
    co_await sleep(slice);
    const Duration passed(now_ns() - began);
    left -= passed > slice + Duration(Absences::kShortest_ns) ? slice : passed;
  }
}

// With its own limit an init() that awaits counts as failed.
Task<> call_init_in_time(NodeRecord& record, Duration limit) {
  if (limit <= Duration::zero()) {
    auto init = call_init(record);
    co_await init;
    co_return;
  }
  auto race = when_any(outcome_of_init(record), turned_for(limit));
  const auto [winner, outcomes] = co_await race;
  const auto& ended = std::get<0>(outcomes);
  if (ended.exception) std::rethrow_exception(ended.exception);
  const std::exception_ptr& failure = *ended.value;
  if (winner == 1 && failure && is_cancellation(failure)) {
    throw Error(ETIMEDOUT, "init",
                fmt::format("(its limit is {} ms: init_limit)", limit.count() / 1'000'000));
  }
  if (failure) std::rethrow_exception(failure);
}

Task<> call_shutdown(NodeRecord& record, Event& over) {
  struct Sets {
    Event& event;
    ~Sets() { event.set(); }
  };
  const Sets sets{over};
  const Busy busy(record);
  if (record.plain_node != nullptr) {
    record.plain_node->shutdown();
  } else {
    auto shutdown = record.coroutine_node->shutdown();
    co_await shutdown;
  }
}

}  // namespace

// With auto_restart a node whose init() fails is tried again beside everything else.
Task<> Executor::start_node(NodeRecord& record) {
  std::exception_ptr failure;
  try {
    auto clear = wait_until_clear(record);
    co_await clear;
    record.set_state(NodeState::initialising);
    auto init = call_init_in_time(record, scheduler_.config().init_limit);
    co_await init;
  } catch (...) {
    failure = std::current_exception();
  }
  record.started_well = !failure;
  if (!failure) {
    record.begin_life(false);
  } else if (is_cancellation(failure)) {
    record.set_state(NodeState::failed);
  } else {
    std::string line;
    describe_failure(failure, line);
    record.note_error(line);
    line = fmt::format("{}: init failed: {}", record.node_name(), line);
    record.started_well = record.restarts_itself();
    if (record.started_well) {
      log_error(line);
      restart(record, false);
    } else {
      scheduler_.cannot_start(line);
      record.set_state(NodeState::failed);
      if (record.starts_late) scheduler_.fail();
    }
  }
  record.start_over.set();
}

// Until its init() has ended, or until all have had 10 s together.
Task<> Executor::wait_for_start(NodeRecord& record, std::int64_t began_ns) {
  const std::int64_t patience = saturating_add(began_ns, kStartPatience.count());
  std::int64_t next_line = saturating_add(now_ns(), kFirstInitLine.count());
  while (!record.start_over.is_set()) {
    const std::int64_t now = now_ns();
    if (now >= patience) {
      log_warning(fmt::format("{}: its init() has not ended after {} s; the others begin without it:\n{}",
                              record.node_name(), kStartPatience.count() / 1'000'000'000,
                              record.starting.dump()));
      record.starts_late = true;
      co_return;
    }
    if (now >= next_line) {
      log_warning(fmt::format("{}: its init() has not ended after {} s:\n{}", record.node_name(),
                              kFirstInitLine.count() / 1'000'000'000, record.starting.dump()));
      next_line = kNever;
    }
    auto waiting = wait_for_event(record.start_over);
    try {
      auto ended = co_await with_timeout(Duration(std::min(patience, next_line) - now), std::move(waiting));
      if (!ended && ended.error().code() != ETIMEDOUT) std::move(ended).or_throw();
    } catch (const Error&) {  // the run ends first
      log_warning(fmt::format("{}: the run ends before its init() has:\n{}", record.node_name(),
                              record.starting.dump()));
      throw;
    }
  }
}

Task<> Executor::watch_late_starts() {
  while (true) {
    co_await sleep(kFurtherInitLines);
    for (NodeRecord* record : nodes) {
      if (!record->starts_late || record->start_over.is_set()) continue;
      log_warning(fmt::format("{}: its init() still has not ended:\n{}", record->node_name(),
                              record->starting.dump()));
    }
  }
}

Task<bool> Executor::start_nodes() {
  started_ = true;
  began_ = ThreadTimes::now();
  vitals.phase.store(Phase::starting, std::memory_order_relaxed);
  try {
    scheduler_.open_ports(nodes);
  } catch (const Error& error) {
    scheduler_.cannot_start(error.message());
    co_return false;
  }
  for (NodeRecord* record : nodes) record->set_state(NodeState::added);  // not that of an earlier run
  const std::int64_t began = now_ns();
  bool some_late = false;
  for (NodeRecord* record : nodes) {
    record->node->scope_.charge_to(&record->background());
    record->starts_late = some_late;
    record->started_well = false;
    record->start_over.reset();
    record->starting.charge_to(&record->account_of(Activity::init));
    static_cast<void>(record->starting.spawn(start_node(*record), record->node_name() + " init"));
    if (some_late) continue;
    auto waiting = wait_for_start(*record, began);
    co_await waiting;
    some_late = record->starts_late;
    if (!some_late && !record->started_well) co_return false;
  }
  if (some_late) static_cast<void>(scope_.spawn(watch_late_starts(), "late starts"));
  co_return true;
}

void Executor::restart(NodeRecord& record, bool by_hand) {
  if (!started_ || stopping_) return;  // commands come until the very end of a run
  const NodeState state = record.state();
  if (state == NodeState::restarting || state == NodeState::stopping || state == NodeState::added) return;
  if (by_hand && state == NodeState::initialising) return;  // it begins already
  record.set_state(NodeState::restarting);
  record.went_away();
  restarts_.charge_to(&record.account_of(Activity::init));
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

// Background work, then shutdown(); a failure is logged, and so is what a shutdown() that takes too long waits for.
Task<> Executor::shut_down(NodeRecord& record) {
  record.forget_tick();
  record.open = false;
  std::exception_ptr failure;
  try {
    auto joining = join_scope(record.node->scope_);
    co_await joining;
    const Duration limit = scheduler_.config().shutdown_limit;
    const std::int64_t began = now_ns();
    Scope scope("shutdown");
    scope.charge_to(&record.account_of(Activity::shutdown));
    Event over;
    auto handle = scope.spawn(call_shutdown(record, over), record.node_name() + " shutdown");
    bool late = false;
    try {
      auto waiting = wait_for_event(over);
      auto done = co_await with_timeout(limit, std::move(waiting));
      late = !done;
    } catch (const Error&) {
      // We are asked to stop ourselves: so is it.
    }
    if (!over.is_set()) {
      log_error(
          fmt::format("{}: its shutdown() has not ended within {} ms (shutdown_limit), it is cancelled:\n{}",
                      record.node_name(), limit.count() / 1'000'000, scope.dump()));
    } else if (late || now_ns() - began > limit.count()) {
      late = true;
      log_error(fmt::format("{}: its shutdown() took {} ms; its limit is {} ms (shutdown_limit)",
                            record.node_name(), (now_ns() - began) / 1'000'000, limit.count() / 1'000'000));
    }
    if (late) scheduler_.end_late();
    scope.cancel();
    auto ending = join_quietly(scope);
    co_await shield(std::move(ending));
    try {
      handle.take();
    } catch (const Error& error) {
      if (!late || !error.cancelled()) throw;
    }
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return;
  std::string line;
  describe_failure(failure, line);
  log_error(fmt::format("{}: shutdown failed: {}", record.node_name(), line));
}

Task<> Executor::begin_anew(NodeRecord& record, bool by_hand) {
  if (record.in_flight()) {
    record.cancel_tick(TickOutcome::cancelled_shutdown);
    auto waiting = wait_for_tick(record, kDrainLimit);
    co_await waiting;
  }
  if (record.open) {
    // Whole, whoever ends the run meanwhile; it has a limit of its own.
    auto shutting_down = shut_down(record);
    co_await shield(std::move(shutting_down));
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
    static_cast<void>(record.account_of(Activity::init));  // shutdown() has used it since
    co_await sleep(*delay);
    auto clear = wait_until_clear(record);
    co_await clear;
    std::exception_ptr failure;
    try {
      auto init = call_init_in_time(record, scheduler_.config().init_limit);
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
  over_ = true;
  if (!started_) {
    auto ending_settling = join_scope(settling_);
    co_await ending_settling;
    co_return;
  }
  stopping_ = true;
  vitals.phase.store(Phase::stopping, std::memory_order_relaxed);
  for (NodeRecord* record : nodes) record->leave(now_ns());
  for (NodeRecord* record : nodes) {
    auto ending_start = join_scope(record->starting);
    co_await ending_start;
  }
  auto ending_restarts = join_scope(restarts_);
  try {
    co_await ending_restarts;
  } catch (const Error&) {
    // A restart that was cut short.
  }
  auto ending_settling = join_scope(settling_);
  co_await ending_settling;
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
    record.end_life();
    if (record.open) {
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

}  // namespace horus::HORUS_ABI::detail
