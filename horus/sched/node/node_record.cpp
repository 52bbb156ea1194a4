// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node/node_record.hpp>

#include <algorithm>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

std::uint64_t hash_of(const std::string& name, std::uint64_t seed) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325 ^ seed;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
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

void NodeRecord::prepare(NodeHost& on, const SchedulerConfig& config) {
  host = &on;
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
  if (host != nullptr && io::Reactor::current() != nullptr) {
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
    host->discard_latest(*node);
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
  if (host == nullptr) return;  // prepare() will see them
  const SchedulerConfig& config = host->run_config();
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

// --- Small things -----------------------------------------------------------------------------------------------------

void NodeRecord::record_event(TimelineEvent::Kind kind, std::int64_t begin_ns, std::int64_t end_ns,
                              std::uint8_t detail) noexcept {
  if (host != nullptr)
    host->timeline.add({begin_ns, end_ns, static_cast<std::uint32_t>(index), kind, detail});
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
  if (host != nullptr) host->ticks.fold();
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

std::string in_ms(std::int64_t ns) {
  const double ms = static_cast<double>(ns) / 1e6;
  return ms < 100 ? fmt::format("{:.3g} ms", ms) : fmt::format("{:.0f} ms", ms);
}

}  // namespace horus::HORUS_ABI::detail
