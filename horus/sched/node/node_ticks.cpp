// SPDX-License-Identifier: Apache-2.0
// A node's ticks: when one is due, its start, its stretches, its end, and what a failed or late one leads to.
#include <algorithm>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::int64_t kStuckAfter_ns = 100'000'000;  // from a tick's cancellation
constexpr std::uint64_t kMostLateEvents = 1000;  // of one stretch, in the timeline; the account has them all
constexpr std::int64_t kFirstRetry_ns = 10'000'000;  // between ticks of a failing event-driven node
constexpr std::int64_t kLastRetry_ns = 1'000'000'000;

std::uint64_t at_least_zero(std::int64_t ns) noexcept { return ns > 0 ? static_cast<std::uint64_t>(ns) : 0; }

bool is_reported(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const ReportedFailure&) {
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

// --- Grid -------------------------------------------------------------------------------------------------------------

std::int64_t NodeRecord::grid_point(std::uint64_t k) const noexcept {
  return grid_start_ + static_cast<std::int64_t>(static_cast<long double>(k) * 1e9L /
                                                 static_cast<long double>(settings.rate.hz));
}

void NodeRecord::start_grid(std::int64_t start_ns) noexcept {
  grid_start_ = start_ns;
  grid_index_ = 0;
  next_release_ = start_ns;
}

// While the node is slowed down its grid is every `divisor_`-th point of the full one.
std::int64_t NodeRecord::advance_grid(std::int64_t now_ns) noexcept {
  std::uint64_t k = grid_index_;
  if (grid_point(k + divisor_) <= now_ns) {
    const auto behind =
        static_cast<long double>(now_ns - grid_start_) * static_cast<long double>(settings.rate.hz) / 1e9L;
    k = std::max(k, static_cast<std::uint64_t>(behind) / divisor_ * divisor_);
    while (grid_point(k + divisor_) <= now_ns) k += divisor_;
    while (k > grid_index_ && grid_point(k) > now_ns) k -= divisor_;
  }
  const std::uint64_t late = (k - grid_index_) / divisor_;
  for (std::uint64_t i = 0; i < std::min(late, kMostLateEvents); ++i) {
    const std::int64_t grid = grid_point(grid_index_ + i * divisor_);
    record_event(TimelineEvent::Kind::skipped, grid, grid,
                 static_cast<std::uint8_t>(TickOutcome::skipped_late));
  }
  account_.outcomes[static_cast<std::size_t>(TickOutcome::skipped_late)] += late;
  account_.ticks_skipped += late;
  account_.grid_points += late;
  divisor_ = divider_.divisor();
  grid_index_ = (k / divisor_ + 1) * divisor_;
  next_release_ = grid_point(grid_index_);
  return grid_point(k);
}

std::int64_t NodeRecord::absolute_deadline() const noexcept {
  const std::int64_t relative =
      settings.deadline.count() > 0 ? settings.deadline.count() : settings.rate.period().count();
  return saturating_add(next_release_, relative);
}

// --- Releases ---------------------------------------------------------------------------------------------------------

void NodeRecord::skip(TickOutcome why, std::int64_t grid_ns) noexcept {
  ++account_.grid_points;
  ++account_.ticks_skipped;
  ++account_.outcomes[static_cast<std::size_t>(why)];
  record_event(TimelineEvent::Kind::skipped, grid_ns, grid_ns, static_cast<std::uint8_t>(why));
}

std::int64_t NodeRecord::offer(std::int64_t grid_ns, std::int64_t now_ns) noexcept {
  if (state() != NodeState::running || held()) [[unlikely]] {
    skip(held()                         ? TickOutcome::skipped_emergency
         : state() == NodeState::stuck  ? TickOutcome::skipped_in_flight
         : state() == NodeState::paused ? TickOutcome::skipped_paused
                                        : TickOutcome::skipped_circuit_open,
         grid_ns);
    return now_ns;
  }
  if (in_flight_) {
    if (settings.overrun == Overrun::skip || queued_for_ >= 0) {
      skip(TickOutcome::skipped_in_flight, grid_ns);
    } else {
      queued_for_ = grid_ns;
      if (settings.overrun == Overrun::cancel) cancel_tick(TickOutcome::cancelled_overrun);
    }
    return now_ns;
  }
  if (skip_next_) {
    skip_next_ = false;
    skip(TickOutcome::skipped_miss, grid_ns);
    return now_ns;
  }
  if (!calm_ && breaker_.state() != CircuitState::closed) [[unlikely]] {
    const CircuitState before = breaker_.state();
    const bool may = breaker_.admit(now_ns);
    breaker_changed(before, now_ns);
    if (!may) {
      skip(TickOutcome::skipped_circuit_open, grid_ns);
      return now_ns;
    }
  }
  return release(grid_ns, now_ns);
}

std::int64_t NodeRecord::rest(std::int64_t now_ns) noexcept {
  if (breaker_.state() == CircuitState::open) {
    const std::int64_t until = breaker_.reopens_at();
    return until == kNever ? kNever : std::max<std::int64_t>(until - now_ns, 0);
  }
  if (breaker_.state() == CircuitState::forced_open) return kNever;
  if (failures_in_row_ == 0) {
    retry_ns_ = 0;
    return 0;
  }
  retry_ns_ = retry_ns_ == 0 ? kFirstRetry_ns : std::min(retry_ns_ * 2, kLastRetry_ns);
  return retry_ns_;
}

// --- Ticks ------------------------------------------------------------------------------------------------------------

std::int64_t NodeRecord::release(std::int64_t grid_ns, std::int64_t now_ns) noexcept {
  released_for_ = grid_ns;
  tick_start_ = now_ns;
  missed_ = false;
  host->vitals.since_ns.store(now_ns, std::memory_order_relaxed);
  host->vitals.running.store(this, std::memory_order_release);
  io::Reactor::current()->spend(node_name_);
  if (plain_node != nullptr) {
    std::exception_ptr failure;
    try {
      plain_node->tick();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::int64_t end = horus::now_ns();
    host->vitals.running.store(nullptr, std::memory_order_relaxed);
    record_event(TimelineEvent::Kind::ran, now_ns, end, 0);
    settle(std::move(failure), end, end - now_ns);
    return end;
  }
  in_flight_ = true;
  ran_noted_ = shields_stopped_ = timed_ = false;
  ended.reset();
  reset_stop();
  execution_ns_ = 0;
  charge_to(this);
  thread_state.running_since_ns = now_ns;
  thread_state.suspended = nullptr;
  try {
    task_ = coroutine_node->tick();
  } catch (...) {  // a tick that is not itself a coroutine threw before it made one
    in_flight_ = false;
    ended.set();
    const std::int64_t end = horus::now_ns();
    host->vitals.running.store(nullptr, std::memory_order_relaxed);
    settle(std::current_exception(), end, end - now_ns);
    if (leaving_) update_clock(end);
    return end;
  }
  task_.start(*this);
  if (!in_flight_) {
    host->vitals.running.store(nullptr, std::memory_order_relaxed);
    task_ = Task<>();
    return tick_start_;  // finished() left the time of the end here
  }
  list_root(*this);
  const std::int64_t suspended_at = horus::now_ns();
  end_stretch(suspended_at);
  ran(now_ns, suspended_at);
  if (deadline_ns_ > 0) insert(deadline_timer_, saturating_add(grid_ns, deadline_ns_));
  return suspended_at;
}

void NodeRecord::resumed(const Chain& chain, std::int64_t now_ns) noexcept {
  host->attend_emergency();  // it must not act on what it waited for
  host->vitals.since_ns.store(now_ns, std::memory_order_relaxed);
  host->vitals.running.store(this, std::memory_order_release);
  const WaitRecord& wait = chain.wait();
  if (wait.kind == nullptr || wait.innermost == nullptr) return;
  const PromiseBase* promise = wait.innermost;
  while (promise->parent != nullptr) promise = promise->parent;
  awaits_.add(wait.kind, promise->where.file_name(), promise->where.line(), now_ns - wait.since_ns);
}

void NodeRecord::ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept {
  host->vitals.running.store(nullptr, std::memory_order_relaxed);
  if (ran_noted_) {  // the tick ended in this stretch
    ran_noted_ = false;
    return;
  }
  execution_ns_ += end_ns - begin_ns;
  record_event(TimelineEvent::Kind::ran, begin_ns, end_ns, 0);
}

// The tick's root coroutine has ended: inside the start, or inside a later resumption by the loop.
std::coroutine_handle<> NodeRecord::finished() noexcept {
  const std::int64_t end = horus::now_ns();
  const std::int64_t begin = thread_state.running_since_ns;
  const bool at_once = !ListHook<RootTag>::linked();
  ListHook<RootTag>::unlink();
  in_flight_ = false;
  ran_noted_ = !at_once;  // the loop tells of this stretch once more, when the coroutine has returned to it
  if (timed_) {
    cancel(deadline_timer_);
    cancel(stuck_timer_);
  }
  record_event(TimelineEvent::Kind::ran, begin, end, 0);
  settle(task_.outcome().exception(), end, execution_ns_ + (end - begin));
  if (leaving_) update_clock(end);
  tick_start_ = end;
  if (state() == NodeState::stuck) {
    if (logs()) log_info(fmt::format("{}: its cancelled tick has ended at last", node_name_));
    set_state(after_stuck_ == NodeState::running && paused_ ? NodeState::paused : after_stuck_);
  }
  if (std::exchange(settle_isolation_, false)) run_settled_hook();
  if (queued_for_ >= 0) insert(queued_timer_, end);
  ended.set();
  return std::noop_coroutine();
}

void NodeRecord::on_queued(io::Timer& timer) noexcept {
  NodeRecord& self = *static_cast<NodeTimer&>(timer).record;
  const std::int64_t grid = std::exchange(self.queued_for_, -1);
  if (grid < 0 || self.in_flight_) return;
  self.task_ = Task<>();
  self.offer(grid, horus::now_ns());
}

void NodeRecord::cancel_tick(TickOutcome reason) noexcept {
  if (!in_flight_ || stop_requested()) return;
  reason_ = reason;
  if (reason != TickOutcome::cancelled_shutdown)
    insert(stuck_timer_, saturating_add(horus::now_ns(), kStuckAfter_ns));
  request_stop();
}

void NodeRecord::on_stuck(io::Timer& timer) noexcept {
  NodeRecord& self = *static_cast<NodeTimer&>(timer).record;
  if (!self.in_flight_ || self.state() != NodeState::running) return;
  if (self.settling_ && !std::exchange(self.shields_stopped_, true)) {
    stop_shielded(self);
    return self.insert(self.stuck_timer_, saturating_add(horus::now_ns(), kStuckAfter_ns));
  }
  self.set_stuck(NodeState::running);
}

void NodeRecord::set_stuck(NodeState afterwards) noexcept {
  after_stuck_ = afterwards;
  set_state(NodeState::stuck);
  log_error(fmt::format(
      "{}: stuck: its tick was cancelled and has not ended ({}); it is not released again before it has",
      node_name_, awaiting()));
}

void NodeRecord::on_deadline(io::Timer& timer) noexcept {
  NodeRecord& self = *static_cast<NodeTimer&>(timer).record;
  if (!self.in_flight_ || self.missed_) return;
  const std::int64_t now = horus::now_ns();
  self.missed_ = true;
  self.miss(false, now, now - self.released_for_);
}

void NodeRecord::miss(bool budget, std::int64_t now, std::int64_t took_ns) noexcept {
  calm_ = false;
  record_event(budget ? TimelineEvent::Kind::budget_miss : TimelineEvent::Kind::deadline_miss, now, now, 0);
  ++(budget ? account_.budget_misses : account_.deadline_misses);
  const Miss reaction = budget ? settings.on_budget : settings.on_miss;
  const std::int64_t limit = budget ? budget_ns_ : deadline_ns_;
  std::string done;
  switch (reaction) {
    case Miss::warn: break;
    case Miss::skip:
      skip_next_ = periodic();
      done = "; its next release is skipped";
      break;
    case Miss::degrade:
      if (divider_.missed() && logs())
        log_warning(fmt::format("{}: slowed down to {:g} Hz after {} misses in a row", node_name_,
                                settings.rate.hz / divider_.divisor(), RateDivider::kMissesToSlow));
      break;
    case Miss::cancel:
      if (in_flight_) done = "; cancelled";
      break;
    case Miss::safe_mode:
      if (!std::exchange(safe_episode_, true)) {
        enter_safe_state();
        done = "; safe state";
      }
      break;
    case Miss::stop: done = "; the scheduler stops"; break;
  }
  QuietLog& quiet = budget ? budget_log_ : deadline_log_;
  if (logs() && quiet.may(now)) {
    const std::string waits = in_flight_ ? ", " + awaiting() : std::string();
    const std::string text = budget ? fmt::format("{}: ran for {}, its budget is {}{}", node_name_,
                                                  in_ms(took_ns), in_ms(limit), done)
                                    : fmt::format("{}: missed its deadline of {}: {} after its release{}{}",
                                                  node_name_, in_ms(limit), in_ms(took_ns), waits, done);
    log_warning(text + quiet.more());
  }
  if (reaction == Miss::cancel && in_flight_) cancel_tick(TickOutcome::cancelled_deadline);
  if (reaction == Miss::stop) host->stop_run();
}

// The account of a tick that has ended.
void NodeRecord::settle(std::exception_ptr failure, std::int64_t end_ns, std::int64_t execution_ns) noexcept {
  const std::int64_t response = end_ns - released_for_;
  TickOutcome outcome = TickOutcome::ok;
  if (failure) [[unlikely]]
    outcome = stop_requested() && is_cancellation(failure) ? reason_ : TickOutcome::failed;
  host->ticks.add({at_least_zero(tick_start_ - released_for_), at_least_zero(execution_ns),
                   at_least_zero(end_ns - tick_start_ - execution_ns), slot, outcome,
                   response <= on_time_ns_});
  record_event(TimelineEvent::Kind::tick, released_for_, end_ns, static_cast<std::uint8_t>(outcome));

  if (deadline_ns_ > 0) {
    if (!missed_ && response > deadline_ns_) {
      missed_ = true;
      miss(false, end_ns, response);
    }
  }
  const bool over_budget = budget_ns_ > 0 && execution_ns > budget_ns_;
  if (over_budget) miss(true, end_ns, execution_ns);
  if (!missed_ && !over_budget && !calm_) {
    if (divider_.divisor() > 1 && divider_.kept() && logs())
      log_info(fmt::format("{}: in time again; back to {:g} Hz", node_name_,
                           settings.rate.hz / divider_.divisor()));
    safe_episode_ = false;
  }

  if (outcome == TickOutcome::ok) [[likely]] {
    feed(end_ns);
    if (!calm_ || vitals.hook.in_episode()) recover(end_ns);
    return;
  }
  calm_ = false;
  const bool failed = outcome == TickOutcome::failed || outcome == TickOutcome::cancelled_watchdog ||
                      (settings.miss_is_failure && (outcome == TickOutcome::cancelled_deadline ||
                                                    outcome == TickOutcome::cancelled_overrun));
  if (outcome == TickOutcome::failed) {
    report_failure(failure, end_ns);
  }
  if (!failed) return;
  ++account_.total_failures;
  ++failures_in_row_;
  const CircuitState before = breaker_.state();
  const bool opens = breaker_.failed(end_ns);
  if (opens) opened(end_ns);
  breaker_changed(before, end_ns);
}

// A good tick after something else.
void NodeRecord::recover(std::int64_t now) noexcept {
  failures_in_row_ = 0;
  if (away_) came_back();
  if (!safe_episode_ && !host->emergency_stopped()) leave_safe_state();
  const CircuitState before = breaker_.state();
  breaker_.succeeded(now);
  if (breaker_.state() != before) breaker_changed(before, now);
  calm_ = breaker_.state() == CircuitState::closed && breaker_.config().window == 0 && !safe_episode_ &&
          divider_.divisor() == 1;
}

void NodeRecord::opened(std::int64_t now) noexcept {
  const bool restart = restarts_itself();
  if (restart) breaker_.hold();
  if (logs()) {
    log_warning(fmt::format("{}: {} failures in a row; circuit open, {}", node_name_, failures_in_row_,
                            restart ? std::string("it is restarted")
                                    : fmt::format("tried again in {}", in_ms(breaker_.reopens_at() - now))));
  }
  if (restart) host->restart(*this, false);
}

void NodeRecord::report_failure(const std::exception_ptr& failure, std::int64_t now) noexcept {
  try {
    std::string line;
    const bool expected = describe_failure(failure, line);
    account_.last_error = line;
    if (logs() && !is_reported(failure) && failure_log_.may(now)) {
      if (expected) {
        log_warning(fmt::format("{}: tick failed: {}{}", node_name_, line, failure_log_.more()));
      } else {
        log_error(fmt::format("{}: tick threw an exception: {}{}", node_name_, line, failure_log_.more()));
      }
    }
    const Doing doing(host->vitals, *this, Activity::on_error);
    node->on_error(failure);
  } catch (...) {
    std::string line;
    describe_failure(std::current_exception(), line);
    if (logs() && on_error_log_.may(now))
      log_error(fmt::format("{}: on_error threw: {}{}", node_name_, line, on_error_log_.more()));
  }
}

}  // namespace horus::HORUS_ABI::detail
