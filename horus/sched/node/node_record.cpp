// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node/node_record.hpp>

#include <algorithm>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>

namespace horus {

NodeBase::~NodeBase() = default;

std::shared_ptr<msg::Port> NodeBase::add_port(std::shared_ptr<msg::Port> port) {
  if (scheduler_ != nullptr) {
    scheduler_->add_port(*this, port);
  } else {
    ports_.push_back({port->info().topic, port});
  }
  return port;
}
Task<> Node::init() { co_return; }
Task<> Node::shutdown() { co_return; }

namespace detail {
namespace {

constexpr std::int64_t kStuckAfter_ns = 100'000'000;  // from a tick's cancellation
constexpr std::uint64_t kMostLateEvents = 1000;  // of one stretch, in the timeline; the account has them all
constexpr std::int64_t kFirstRetry_ns = 10'000'000;  // between ticks of a failing event-driven node
constexpr std::int64_t kLastRetry_ns = 1'000'000'000;

std::uint64_t hash_of(const std::string& name, std::uint64_t seed) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325 ^ seed;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

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

std::string in_ms(std::int64_t ns) {
  const double ms = static_cast<double>(ns) / 1e6;
  return ms < 100 ? fmt::format("{:.3g} ms", ms) : fmt::format("{:.0f} ms", ms);
}

double ms_of(Duration duration) noexcept { return static_cast<double>(duration.count()) / 1e6; }

}  // namespace

NodeRecord::NodeRecord(std::shared_ptr<NodeBase> owned, std::size_t position)
    : node(std::move(owned)),
      coroutine_node(dynamic_cast<Node*>(node.get())),
      plain_node(dynamic_cast<PlainNode*>(node.get())),
      index(position) {
  HORUS_ASSERT((coroutine_node == nullptr) != (plain_node == nullptr),
               "a node derives from Node or from PlainNode");
  ended.set();
  idle.set();
  const auto expires = [this](NodeTimer& timer, void (*call)(io::Timer&) noexcept) {
    timer.record = this;
    timer.expired = call;
  };
  expires(deadline_timer_, &on_deadline);
  expires(stuck_timer_, &on_stuck);
  expires(queued_timer_, &on_queued);
}

void NodeRecord::set_name(const std::string& name) { node_name_ = name; }

// --- Life -------------------------------------------------------------------------------------------------------------

void NodeRecord::prepare(Executor& on, const SchedulerConfig& config) {
  executor = &on;
  if (plain_node != nullptr && !periodic()) settings.rate = config.tick_rate;
  if (!settings.watchdog_enabled) settings.watchdog_enabled = config.watchdog_enabled;
  if (!settings.watchdog) settings.watchdog = config.watchdog_timeout;
  const auto overrides = config.nodes.find(node_name_);
  check_settings(node_name_, settings, plain_node != nullptr,
                 overrides == config.nodes.end() ? std::string() : overrides->second.source)
      .or_throw();
  CircuitConfig circuit = config.circuit;
  circuit.enabled = settings.circuit_breaker.value_or(config.circuit_breaker);
  breaker_ = CircuitBreaker(circuit);
  RestartConfig restart = settings.restart.value_or(config.restart);
  if (const auto found = config.nodes.find(node_name_); found != config.nodes.end())
    found->second.apply_to(restart);
  restart.enabled = settings.auto_restart.value_or(config.auto_restart);
  restarts_ = RestartPolicy(restart, hash_of(node_name_, config.seed));
  deadline_ns_ = config.deadline_monitoring ? settings.deadline.count() : 0;
  budget_ns_ = config.deadline_monitoring ? settings.budget.count() : 0;
  divider_ = RateDivider();
  divisor_ = 1;
  retry_ns_ = 0;
  came_back();
  on_time_ns_ = periodic() ? static_cast<std::int64_t>(1e9 / settings.rate.hz) : -1;
  failures_in_row_ = 0;
  calm_ = false;
  skip_next_ = safe_episode_ = missed_ = leaving_ = settling_ = settle_isolation_ = false;
  vitals.isolated.store(false, std::memory_order_relaxed);
  queued_for_ = -1;
  vitals.timeout_ns.store(*settings.watchdog_enabled ? settings.watchdog->count() : 0,
                          std::memory_order_relaxed);
  vitals.hook.end_episode();
}

void NodeRecord::set_state(NodeState state) noexcept {
  vitals.state.store(state, std::memory_order_relaxed);
  if (executor != nullptr && io::Reactor::current() != nullptr) {
    const std::int64_t now = horus::now_ns();
    record_event(TimelineEvent::Kind::state, now, now, static_cast<std::uint8_t>(state));
    update_clock(now);
  }
  if (state == NodeState::running) {
    runnable.set();
  } else if (state != NodeState::stuck) {
    runnable.reset();
  }
}

void NodeRecord::begin_life(bool after_restart) noexcept {
  const std::int64_t now = horus::now_ns();
  life_began_ns_ = now;
  open = true;
  restarts_.started(now);
  if (after_restart) {
    const CircuitState before = breaker_.state();
    breaker_.half_open(now);
    breaker_changed(before, now);
  }
  if (paused_) came_back();
  set_state(paused_ ? NodeState::paused : NodeState::running);
}

void NodeRecord::end_life() noexcept {
  cancel(queued_timer_);
  cancel(stuck_timer_);
  vitals.fed_ns.store(0, std::memory_order_relaxed);
  forget_tick();
}

void NodeRecord::pause(bool paused) noexcept {
  paused_ = paused;
  if (paused && state() == NodeState::running) {
    came_back();
    set_state(NodeState::paused);
    stop_waiting();
  }
  if (!paused && state() == NodeState::paused) {
    executor->scheduler().discard_latest(*node);
    set_state(NodeState::running);
  }
}

// A tick without a rate waits for input that it must not act on now.
void NodeRecord::stop_waiting() noexcept {
  if (!periodic()) cancel_tick(TickOutcome::cancelled_paused);
}

void NodeRecord::force_open() noexcept {
  const CircuitState before = breaker_.state();
  const std::int64_t now = horus::now_ns();
  came_back();
  breaker_.force_open(now);
  breaker_changed(before, now);
  stop_waiting();
}

void NodeRecord::reset_circuit() noexcept {
  const CircuitState before = breaker_.state();
  const std::int64_t now = horus::now_ns();
  breaker_.reset(now);
  retry_ns_ = 0;
  breaker_changed(before, now);
  if (state() == NodeState::running) runnable.set();
}

void NodeRecord::settings_changed() noexcept {
  if (executor == nullptr) return;  // prepare() will see them
  const SchedulerConfig& config = executor->scheduler().config();
  deadline_ns_ = config.deadline_monitoring ? settings.deadline.count() : 0;
  budget_ns_ = config.deadline_monitoring ? settings.budget.count() : 0;
  vitals.timeout_ns.store(*settings.watchdog_enabled ? settings.watchdog->count() : 0,
                          std::memory_order_relaxed);
  vitals.fed_ns.store(0, std::memory_order_relaxed);
  if (state() != NodeState::added) update_clock(horus::now_ns());
}

void NodeRecord::breaker_changed(CircuitState before, std::int64_t now) noexcept {
  calm_ = false;
  const CircuitState after = breaker_.state();
  if (after == before) return;
  record_event(TimelineEvent::Kind::circuit, now, now, static_cast<std::uint8_t>(after));
  update_clock(now);
  if (!logs()) return;
  if (after == CircuitState::closed) log_info(fmt::format("{}: works again; circuit closed", node_name_));
  if (after == CircuitState::half_open)
    log_info(fmt::format("{}: circuit half open; the next {} ticks decide", node_name_,
                         breaker_.config().close_after));
  if (after == CircuitState::forced_open) log_warning(fmt::format("{}: circuit opened by hand", node_name_));
}

// --- Watchdog ---------------------------------------------------------------------------------------------------------

void NodeRecord::feed(std::int64_t now) noexcept {
  if (vitals.timeout_ns.load(std::memory_order_relaxed) == 0) return;
  vitals.fed_ns.store(now, std::memory_order_relaxed);
  const bool expired = vitals.step.load(std::memory_order_acquire) != WatchdogStep::well;
  if (!expired && !vitals.isolated.load(std::memory_order_relaxed)) [[likely]]
    return;
  vitals.step.store(WatchdogStep::well,
                    std::memory_order_seq_cst);  // before it is unmuted: mute_from_outside()
  vitals.acted.store(WatchdogStep::well, std::memory_order_seq_cst);
  vitals.isolated.store(false, std::memory_order_seq_cst);
  if (expired && seen_step_ == WatchdogStep::well) {  // it expired while the loop was blocked
    const std::int64_t stepped = vitals.stepped_ns.load(std::memory_order_relaxed);
    record_event(TimelineEvent::Kind::watchdog, stepped, stepped, 1);
  }
  seen_step_ = WatchdogStep::well;
  executor->scheduler().mute(*node, false);
  record_event(TimelineEvent::Kind::watchdog, now, now, 0);
  if (logs()) log_info(fmt::format("{}: ticks again; watchdog fed", node_name_));
}

// Frozen while the node is not meant to tick.
void NodeRecord::update_clock(std::int64_t now) noexcept {
  if (executor == nullptr) return;  // before the first run
  const bool meant =
      executor->watches_nodes() && (state() == NodeState::running || state() == NodeState::stuck) &&
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
        executor->scheduler().mute(*node, true);
        settle_isolation_ = enter_safe_state() && in_flight_;
        if (settings.critical) executor->scheduler().emergency_stop();
        break;
    }
  }
}

// Who feeds clears the step first and unmutes then; so either this sees that, or it comes before the unmuting.
void NodeRecord::mute_from_outside() noexcept {
  vitals.isolated.store(true, std::memory_order_seq_cst);
  const bool done = executor->scheduler().try_mute(*node, true);
  vitals.mute_owed.store(!done, std::memory_order_relaxed);
  if (vitals.step.load(std::memory_order_seq_cst) != WatchdogStep::well) return;
  vitals.isolated.store(false, std::memory_order_seq_cst);
  if (done) vitals.mute_owed.store(!executor->scheduler().try_mute(*node, false), std::memory_order_relaxed);
}

void NodeRecord::Account::resumed(const Chain&, std::int64_t now_ns) noexcept {
  if (activity == Activity::background) record.executor->attend_emergency();
  LoopVitals& loop = record.executor->vitals;
  loop.since_ns.store(now_ns, std::memory_order_relaxed);
  loop.activity.store(activity, std::memory_order_relaxed);
  loop.running.store(&record, std::memory_order_release);
}

void NodeRecord::Account::ran(std::int64_t, std::int64_t) noexcept {
  LoopVitals& loop = record.executor->vitals;
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
  if (executor != nullptr && executor->is_here()) {
    const Doing doing(executor->vitals, *this, Activity::hook);
    call();
  } else {
    call();
  }
  vitals.hook_since_ns.store(0, std::memory_order_release);
  vitals.hook.returned();
  safe_states_.fetch_add(1, std::memory_order_relaxed);
  if (executor != nullptr && executor->is_here()) {
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

bool NodeRecord::held() const noexcept {
  return settling_ || (executor->in_emergency() && !settings.keep_in_emergency);
}

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
  if (executor->scheduler().emergency_stopped()) enter_safe_state();
}

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
  executor->vitals.since_ns.store(now_ns, std::memory_order_relaxed);
  executor->vitals.running.store(this, std::memory_order_release);
  io::Reactor::current()->spend(node_name_);
  if (plain_node != nullptr) {
    std::exception_ptr failure;
    try {
      plain_node->tick();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::int64_t end = horus::now_ns();
    executor->vitals.running.store(nullptr, std::memory_order_relaxed);
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
    executor->vitals.running.store(nullptr, std::memory_order_relaxed);
    settle(std::current_exception(), end, end - now_ns);
    if (leaving_) update_clock(end);
    return end;
  }
  task_.start(*this);
  if (!in_flight_) {
    executor->vitals.running.store(nullptr, std::memory_order_relaxed);
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
  executor->attend_emergency();  // it must not act on what it waited for
  executor->vitals.since_ns.store(now_ns, std::memory_order_relaxed);
  executor->vitals.running.store(this, std::memory_order_release);
  const WaitRecord& wait = chain.wait();
  if (wait.kind == nullptr || wait.innermost == nullptr) return;
  const PromiseBase* promise = wait.innermost;
  while (promise->parent != nullptr) promise = promise->parent;
  awaits_.add(wait.kind, promise->where.file_name(), promise->where.line(), now_ns - wait.since_ns);
}

void NodeRecord::ran(std::int64_t begin_ns, std::int64_t end_ns) noexcept {
  executor->vitals.running.store(nullptr, std::memory_order_relaxed);
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
        log_warning(fmt::format("{}: slowed down to {:g} Hz, for {} misses in a row", node_name_,
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
  if (reaction == Miss::stop) executor->scheduler().stop();
}

// The account of a tick that has ended.
void NodeRecord::settle(std::exception_ptr failure, std::int64_t end_ns, std::int64_t execution_ns) noexcept {
  const std::int64_t response = end_ns - released_for_;
  TickOutcome outcome = TickOutcome::ok;
  if (failure) [[unlikely]]
    outcome = stop_requested() && is_cancellation(failure) ? reason_ : TickOutcome::failed;
  executor->ticks.add({at_least_zero(tick_start_ - released_for_), at_least_zero(execution_ns),
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
  if (!safe_episode_ && !executor->scheduler().emergency_stopped()) leave_safe_state();
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
  if (restart) executor->restart(*this, false);
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
    const Doing doing(executor->vitals, *this, Activity::on_error);
    node->on_error(failure);
  } catch (...) {
    std::string line;
    describe_failure(std::current_exception(), line);
    if (logs() && on_error_log_.may(now))
      log_error(fmt::format("{}: on_error threw: {}{}", node_name_, line, on_error_log_.more()));
  }
}

// --- Small things -----------------------------------------------------------------------------------------------------

void NodeRecord::record_event(TimelineEvent::Kind kind, std::int64_t begin_ns, std::int64_t end_ns,
                              std::uint8_t detail) noexcept {
  if (executor != nullptr)
    executor->timeline.add({begin_ns, end_ns, static_cast<std::uint32_t>(index), kind, detail});
}

void NodeRecord::insert(NodeTimer& timer, std::int64_t deadline_ns) noexcept {
  io::TimerQueue& timers = io::Reactor::current()->timers();
  if (timer.pending()) timers.cancel(timer);
  timers.insert(timer, deadline_ns);
  timed_ = true;
}

void NodeRecord::cancel(NodeTimer& timer) noexcept {
  if (timer.pending()) io::Reactor::current()->timers().cancel(timer);
}

std::string NodeRecord::awaiting() const { return describe_wait(*this); }

std::string describe_wait(const Chain& chain) {
  const Waiter* waiter = chain.leaf();
  if (waiter == nullptr || waiter->kind == nullptr) return "about to go on";
  const PromiseBase* promise = waiter->promise;
  while (promise != nullptr && promise->parent != nullptr) promise = promise->parent;
  if (promise == nullptr) return fmt::format("awaiting {}", waiter->kind->name);
  std::string_view file = promise->where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) file.remove_prefix(slash + 1);
  return fmt::format("awaiting {} at {}:{}", waiter->kind->name, file, promise->where.line());
}

NodeStatistics NodeRecord::statistics() const {
  if (executor != nullptr) executor->ticks.fold();
  NodeStatistics all = account_;
  all.grid_points += in_flight_ ? 1 : 0;
  all.total_ticks += in_flight_ ? 1 : 0;
  all.consecutive_failures = failures_in_row_;
  all.name = node_name_;
  all.executor = settings.executor;
  all.priority = settings.priority;
  all.rate_hz = settings.rate.hz;
  all.tick_rate_hz = settings.rate.hz / divider_.divisor();
  all.logging_enabled = settings.logging_enabled;
  all.state = state();
  all.deadline_ms = ms_of(settings.deadline);
  all.budget_ms = ms_of(settings.budget);
  const std::int64_t now = horus::now_ns();
  all.circuit_state = breaker_.state();
  all.circuit_opens = breaker_.opens();
  all.circuit_rejected = breaker_.rejected();
  all.circuit_open_ns = breaker_.time_open(now);
  all.restarts = restarts_.restarts();
  all.watchdog_enabled = settings.watchdog_enabled.value_or(false);
  all.watchdog_timeout_ms = ms_of(settings.watchdog.value_or(NodeSettings::kDefaultWatchdog));
  view_from_outside(all, now);
  if (life_began_ns_ != 0) all.uptime_seconds = static_cast<double>(now - life_began_ns_) / 1e9;
  all.awaits = awaits_.list();
  return all;
}

void NodeRecord::view_from_outside(NodeStatistics& into, std::int64_t now) const noexcept {
  into.state = state();
  into.watchdog_expired = vitals.step.load(std::memory_order_relaxed) != WatchdogStep::well;
  into.watchdog_expirations = vitals.expirations.load(std::memory_order_relaxed);
  const std::int64_t fed = vitals.fed_ns.load(std::memory_order_relaxed);
  const bool watched = vitals.timeout_ns.load(std::memory_order_relaxed) != 0;
  into.watchdog_time_since_feed_ms = fed == 0 || !watched ? 0 : static_cast<double>(now - fed) / 1e6;
  into.safe_states = safe_states_.load(std::memory_order_relaxed);
}

bool describe_failure(const std::exception_ptr& failure, std::string& line) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    line = error.message();
    return true;
  } catch (const std::exception& error) {
    line = error.what();
  } catch (...) {
    line = "an exception that is not a std::exception";
  }
  return false;
}

bool is_cancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.cancelled();
  } catch (...) {
    return false;
  }
}

}  // namespace detail
}  // namespace horus
