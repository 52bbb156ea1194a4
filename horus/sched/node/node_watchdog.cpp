// SPDX-License-Identifier: Apache-2.0
// A node that gives no sign of life: the ladder of its watchdog, its safe state, and what an emergency stop holds. Says whose
// code runs, for the monitor to tell.
#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/node/node_record.hpp>

namespace horus::HORUS_ABI::detail {

// --- Watchdog ---------------------------------------------------------------------------------------------------------

void NodeRecord::end_expiry(std::int64_t now, bool expired) noexcept {
  vitals.step.store(WatchdogStep::well,
                    std::memory_order_seq_cst);  // before it is unmuted: mute_from_outside()
  vitals.acted.store(WatchdogStep::well, std::memory_order_seq_cst);
  vitals.isolated.store(false, std::memory_order_seq_cst);
  if (expired && seen_step_ == WatchdogStep::well) {  // it expired while the loop was blocked
    const std::int64_t stepped = vitals.stepped_ns.load(std::memory_order_relaxed);
    record_event(TimelineEvent::Kind::watchdog, stepped, stepped, 1);
  }
  seen_step_ = WatchdogStep::well;
  host->mute(*node, false);
  record_event(TimelineEvent::Kind::watchdog, now, now, 0);
  if (logs()) log_info(fmt::format("{}: ticks again; watchdog fed", node_name_));
}

// Frozen while the node is not meant to tick.
void NodeRecord::update_clock(std::int64_t now) noexcept {
  if (host == nullptr) return;  // before the first run
  const bool meant =
      host->watches_nodes() && (state() == NodeState::running || state() == NodeState::stuck) &&
      (!leaving_ || in_flight_) && !held() &&
      (breaker_.state() == CircuitState::closed || breaker_.state() == CircuitState::half_open);
  const std::int64_t fed = vitals.fed_ns.load(std::memory_order_relaxed);
  if (meant && fed == 0) vitals.fed_ns.store(now, std::memory_order_relaxed);
  if (!meant && fed != 0) vitals.fed_ns.store(0, std::memory_order_relaxed);
}

void NodeRecord::leave(std::int64_t now) noexcept {
  leaving_ = true;
  came_back();
  update_clock(now);
}

void NodeRecord::climb_ladder() noexcept {
  if (vitals.away_step.load(std::memory_order_acquire) == AwayStep::too_long) stay_away();
  const WatchdogStep step = vitals.step.load(std::memory_order_acquire);
  while (seen_step_ < step) {
    seen_step_ = static_cast<WatchdogStep>(static_cast<int>(seen_step_) + 1);
    const std::int64_t now = horus::now_ns();
    const std::int64_t fed = vitals.fed_ns.load(std::memory_order_relaxed);
    record_event(TimelineEvent::Kind::watchdog, now, now, static_cast<std::uint8_t>(seen_step_));
    const bool first = vitals.take_over(seen_step_);  // or the monitor has done what it can
    const std::string where = in_flight_ ? awaiting() : std::string("no tick in flight");
    const std::string since = fed == 0 ? "a while" : in_ms(now - fed);
    switch (seen_step_) {
      case WatchdogStep::well: break;
      case WatchdogStep::warned:
        if (!first) break;
        vitals.expirations.fetch_add(1, std::memory_order_relaxed);
        if (logs())
          log_warning(
              fmt::format("{}: watchdog expired: no successful tick for {} ({})", node_name_, since, where));
        break;
      case WatchdogStep::unhealthy:
        if (first && logs())
          log_warning(fmt::format("{}: unhealthy: no successful tick for {} ({}); its tick is cancelled",
                                  node_name_, since, where));
        cancel_tick(TickOutcome::cancelled_watchdog);
        break;
      case WatchdogStep::isolated:
        cancel_tick(TickOutcome::cancelled_watchdog);
        settle_isolation_ = in_flight_;
        if (!first) break;
        log_error(fmt::format("{}: isolated: no successful tick for {} ({}); its outputs are muted{}",
                              node_name_, since, where,
                              settings.critical ? ", and as it is critical: emergency stop" : ""));
        vitals.isolated.store(true, std::memory_order_release);
        host->mute(*node, true);
        settle_isolation_ = enter_safe_state() && in_flight_;
        if (settings.critical) host->emergency_stop();
        break;
    }
  }
}

// Who feeds clears the step first and unmutes then; so either this sees that, or it comes before the unmuting.
void NodeRecord::mute_from_outside() noexcept {
  vitals.isolated.store(true, std::memory_order_seq_cst);
  const bool done = host->try_mute(*node, true);
  vitals.mute_owed.store(!done, std::memory_order_relaxed);
  if (vitals.step.load(std::memory_order_seq_cst) != WatchdogStep::well) return;
  vitals.isolated.store(false, std::memory_order_seq_cst);
  if (done) vitals.mute_owed.store(!host->try_mute(*node, false), std::memory_order_relaxed);
}

void NodeRecord::Account::resumed(const Chain&, std::int64_t now_ns) noexcept {
  if (activity == Activity::background) record.host->attend_emergency();
  LoopVitals& loop = record.host->vitals;
  loop.since_ns.store(now_ns, std::memory_order_relaxed);
  loop.activity.store(activity, std::memory_order_relaxed);
  loop.running.store(&record, std::memory_order_release);
}

void NodeRecord::Account::ran(std::int64_t, std::int64_t) noexcept {
  LoopVitals& loop = record.host->vitals;
  loop.running.store(nullptr, std::memory_order_relaxed);
  loop.activity.store(Activity::tick, std::memory_order_relaxed);
}

bool NodeRecord::enter_safe_state() noexcept {
  vitals.hook.want();
  return run_wanted_hook();
}

bool NodeRecord::run_wanted_hook() noexcept {
  if (!vitals.hook.wanted() || !vitals.hook.begin()) return false;
  vitals.hook_since_ns.store(monotonic_ns(), std::memory_order_release);
  const auto call = [this]() noexcept {
    const msg::MutePass pass;  // on the loop's thread
    node->enter_safe_state_at(SafeStateCall::at_once);
  };
  if (host != nullptr && host->is_here()) {
    const Doing doing(host->vitals, *this, Activity::hook);
    call();
  } else {
    call();
  }
  vitals.hook_since_ns.store(0, std::memory_order_release);
  vitals.hook.returned();
  safe_states_.fetch_add(1, std::memory_order_relaxed);
  if (host != nullptr && host->is_here()) {
    const std::int64_t now = horus::now_ns();
    record_event(TimelineEvent::Kind::safe_state, now, now, 0);
  }
  return true;
}

void NodeRecord::run_settled_hook() noexcept {
  if (!vitals.hook.begin_settled()) return;
  vitals.hook_since_ns.store(monotonic_ns(), std::memory_order_release);
  {
    const msg::MutePass pass;
    node->enter_safe_state_at(SafeStateCall::settled);
  }
  vitals.hook_since_ns.store(0, std::memory_order_release);
  vitals.hook.settled();
}

// --- Emergency stop ---------------------------------------------------------------------------------------------------

void NodeRecord::hold(std::int64_t now) noexcept {
  settling_ = true;
  vitals.away_ns.store(0, std::memory_order_relaxed);
  cancel(queued_timer_);
  if (queued_for_ >= 0) skip(TickOutcome::skipped_emergency, std::exchange(queued_for_, -1));
  cancel_tick(TickOutcome::cancelled_emergency);
  update_clock(now);
}

void NodeRecord::settled(std::int64_t now) noexcept {
  settling_ = false;
  if (!held()) let_act(now);
}

// A watchdog that has expired begins anew; what it has isolated stays so until a tick succeeds.
void NodeRecord::let_act(std::int64_t now) noexcept {
  vitals.step.store(WatchdogStep::well, std::memory_order_relaxed);
  vitals.acted.store(WatchdogStep::well, std::memory_order_relaxed);
  seen_step_ = WatchdogStep::well;
  update_clock(now);
  begin_away(now);
  if (state() == NodeState::running) runnable.set();
}

void NodeRecord::leave_safe_state() noexcept {
  if (!vitals.hook.in_episode()) return;
  vitals.hook.end_episode();
  // An emergency stop that came meanwhile has asked for a call which this has withdrawn.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (host->emergency_stopped()) enter_safe_state();
}

}  // namespace horus::HORUS_ABI::detail
