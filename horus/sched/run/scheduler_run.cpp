// SPDX-License-Identifier: Apache-2.0
// A run, from the first node's init() to the last one's shutdown().
#include <chrono>
#include <system_error>
#include <thread>

#include <sched.h>
#include <sys/prctl.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/base/uncaught.hpp>
#include <horus/io/replay/environment.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/crash_guard.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/companion.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/run/insight.hpp>
#include <horus/sched/run/memory_lock.hpp>
#include <horus/sched/run/recordings.hpp>
#include <horus/sched/run/run_end.hpp>
#include <horus/sched/run/safety_monitor.hpp>
#include <horus/sched/run/service_notifier.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus::HORUS_ABI {

using detail::Executor;
using detail::RunEnd;

namespace {

// Priorities and affinity of the thread that calls it; what the system refuses is said once.
void set_thread(int rt_priority, std::optional<int> cpu) {
  if (cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (*cpu >= 0 && *cpu < CPU_SETSIZE) CPU_SET(static_cast<unsigned>(*cpu), &set);
    if (::sched_setaffinity(0, sizeof set, &set) != 0) {
      log_warning(
          fmt::format("pinning to processor {} was refused: {} (taskset -p {} shows those that are allowed)",
                      *cpu, describe_code(errno), ::getpid()));
    }
  }
  if (rt_priority > 0) {
    sched_param parameter{};
    parameter.sched_priority = rt_priority;
    // Children and helper threads start as ordinary ones: a camera program must not starve the machine.
    if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) != 0) {
      log_warning("SCHED_FIFO was refused: " + describe_code(errno) +
                  " (needs CAP_SYS_NICE or a higher ulimit -r)");
    }
  }
}

}  // namespace

/// One run, tick_once() or close() at a time, whichever threads ask, and all of them on the thread that started the nodes.
class Scheduler::Claim {
 public:
  Claim(Scheduler& scheduler, const char* what) : scheduler_(scheduler) {
    if (scheduler_.running_.exchange(true, std::memory_order_acq_rel))
      throw Error(EBUSY, what, "(the scheduler is running already)");
    if (scheduler_.started_ && scheduler_.started_on_ != std::this_thread::get_id()) {
      scheduler_.running_.store(false, std::memory_order_release);
      throw Error(EBUSY, what,
                  "(tick_once() has started the nodes on another thread; go on there, or close() there)");
    }
    detail::running_schedulers.fetch_add(1);
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    detail::running_schedulers.fetch_sub(1);
    scheduler_.running_.store(false, std::memory_order_release);
  }

 private:
  Scheduler& scheduler_;
};

/// The first executor and its reactor, however the run ends.
class Scheduler::Attached {
 public:
  explicit Attached(Scheduler& scheduler) : scheduler_(scheduler) { scheduler_.main_->attach(); }
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() {
    scheduler_.monitor_->stop();
    scheduler_.main_->detach();
  }

 private:
  Scheduler& scheduler_;
};

namespace {

Task<> pause_for_hooks() { co_await sleep(std::chrono::milliseconds(1)); }

Task<int> wait_for(Event& event) {
  co_await event.wait();
  co_return 0;
}

Task<> join_all(Scope& scope) {
  scope.cancel();
  co_await scope.join();
  scope.reset();
}

// From the loop: one that hangs says nothing, and the service manager starts the process anew.
Task<> feed_service(ServiceNotifier& service, Duration every) {
  while (true) {
    service.watchdog();
    co_await sleep(every);
  }
}

// Nodes in order, unless somebody says stop first.
Task<bool> start_unless_stopped(Executor& executor) {
  auto starting = executor.start_nodes();
  auto stopping = wait_for(executor.stop);
  auto race = co_await when_any(std::move(starting), std::move(stopping));
  co_return race.index == 0 && std::get<0>(race.outcomes).value.value_or(false);
}

}  // namespace

Task<int> Scheduler::run_async() {
  const Claim claim(*this, "run");
  auto running = run_limited(Duration::max(), false);
  const int code = co_await running;
  co_return code;
}

Task<int> Scheduler::run_main(Duration limit, bool own_signals) {
  const Claim claim(*this, "run");
  apply_thread_settings();
  auto running = run_limited(limit, own_signals);
  const int code = co_await running;
  co_return code;
}

void Scheduler::run_companion(Companion& companion) {
  Executor& main = *main_;
  const ExecutorConfig& config = companion.executor.config();
  ::pthread_setname_np(::pthread_self(), companion.executor.name().substr(0, 15).c_str());
  try {
    set_thread(config.rt_priority, config.cpu);
    if (config_.lock_memory) detail::prefault();
    if (config_.timer_slack)
      ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(config_.timer_slack->count()), 0, 0, 0);
    io::ReactorConfig reactor_config = config_.reactor;
    if (config.spin > Duration::zero()) reactor_config.timer_spin = config.spin;
    io::Reactor reactor(reactor_config);
    reactor.run(live(companion), "executor");
  } catch (const std::exception& error) {
    log_error(fmt::format("executor {}: {}", companion.executor.name(), error.what()));
  }
  main.tell(
      [&companion] {
        companion.started.set();
        companion.ended.set();
      },
      true);
}

// The life of a companion's nodes, on its loop.
Task<> Scheduler::live(Companion& companion) {
  Executor& executor = companion.executor;
  executor.attach();
  auto starting = start_unless_stopped(executor);
  const bool ok = co_await starting;
  main_->tell(
      [&companion, ok] {
        companion.ok = ok;
        companion.started.set();
      },
      true);
  co_await companion.go.wait();
  if (companion.wanted) {
    auto releasing = executor.release();
    co_await releasing;
  }
  auto stopping = executor.stop_nodes();
  co_await stopping;
  executor.detach();
}

void Scheduler::stop_companions() noexcept {
  for (auto& companion : companions_) {
    companion->executor.tell([to = &companion->executor] { to->stop.set(); }, true);
  }
}

// True when every node of every executor has started.
Task<bool> Scheduler::start_all() {
  close_stale_ports();
  bool ok = true;
  for (std::size_t i = 1; i < executors_.size(); ++i) {
    if (executors_[i]->nodes.empty()) continue;
    companions_.push_back(std::make_unique<Companion>(*executors_[i]));
    Companion& companion = *companions_.back();
    try {
      companion.thread = std::thread([this, &companion] { run_companion(companion); });
    } catch (const std::system_error& error) {
      cannot_start(fmt::format("executor {}: its thread could not be started: {}", companion.executor.name(),
                               describe_code(error.code().value())));
      companions_.pop_back();
      ok = false;
      break;
    }
  }
  started_ = true;
  started_on_ = std::this_thread::get_id();
  if (ok) {
    auto starting = start_unless_stopped(*main_);
    ok = co_await starting;
  }
  if (!ok) stop_companions();
  for (auto& companion : companions_) {
    co_await companion->started.wait();
    ok = ok && companion->ok;
  }
  if (!ok) co_return false;
  try {
    check_connections();
  } catch (const Error& error) {
    cannot_start(error.message());
    co_return false;
  }
  co_return true;
}

// From the first init() to the last tick; true when it came to ticks.
Task<bool> Scheduler::start_and_release(ServiceNotifier* service) {
  bool ready = started_;
  std::exception_ptr failure;
  try {
    if (!ready) {
      auto starting = start_all();
      ready = co_await shield(std::move(starting));
    }
  } catch (...) {
    failure = std::current_exception();
  }
  for (auto& companion : companions_) {
    companion->executor.tell(
        [to = companion.get(), ready] {
          to->wanted = ready;
          to->go.set();
        },
        true);
  }
  if (failure) std::rethrow_exception(failure);
  if (!ready) co_return false;
  if (service != nullptr) service->ready();
  try {
    auto releasing = main_->release();
    co_await releasing;
  } catch (...) {
    failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
  co_return true;
}

// How the nodes are, without asking their loops. Any thread, during a run.
std::vector<Diagnostic> Scheduler::diagnose() const {
  using Level = Diagnostic::Level;
  std::vector<Diagnostic> parts;
  parts.reserve(nodes_.size() + 1);
  const bool stopped = emergency_stopped();
  parts.push_back({"scheduler", stopped ? Level::error : Level::ok, stopped ? "emergency stop" : "runs", {}});
  const std::int64_t now = now_ns();
  for (const auto& node : nodes_) {
    NodeStatistics seen;
    node->view_from_outside(seen, now);
    Diagnostic part{node->node_name(), Level::ok, to_string(seen.state), {}};
    switch (seen.state) {
      case NodeState::restarting:
      case NodeState::stuck:
      case NodeState::failed: part.level = Level::error; break;
      case NodeState::paused:
      case NodeState::stopped: part.level = Level::stale; break;
      default: break;
    }
    if (seen.watchdog_expired && part.level == Level::ok) {
      part.level = Level::warn;
      part.message += ", its watchdog has expired";
    }
    part.values = {{"watchdog expirations", std::to_string(seen.watchdog_expirations)},
                   {"ms since its last success", fmt::format("{:.0f}", seen.watchdog_time_since_feed_ms)},
                   {"safe states", std::to_string(seen.safe_states)}};
    parts.push_back(std::move(part));
  }
  return parts;
}

// What a black box is for. Any thread, during a run.
std::uint64_t Scheduler::trouble() const noexcept {
  std::uint64_t all = emergency_stopped() ? 1 : 0;
  for (const auto& node : nodes_) {
    const NodeState state = node->state();
    const bool is_down =
        state == NodeState::restarting || state == NodeState::stuck || state == NodeState::failed;
    all += node->vitals.expirations.load(std::memory_order_relaxed) + (is_down ? 1 : 0);
  }
  return all;
}

Task<int> Scheduler::run_limited(Duration limit, bool own_signals) {
  if (limit < Duration::zero()) {
    log_error(fmt::format("run for {} s: a time below 0 (give 0 or more; run() has no limit)",
                          static_cast<double>(limit.count()) / 1e9));
    co_return 1;
  }
  io::Reactor& reactor = *io::Reactor::current();
  const bool real_time = reactor.system().has_threads();
  // At a replay the log tells what the monitor did.
  const bool monitored = real_time && !io::is_replay();
  try {
    if (!started_) settle(real_time);
  } catch (const Error& error) {
    cannot_start(error.message());
    co_return 1;
  }
  if (io::is_exact()) {
    for (std::size_t i = 1; i < executors_.size(); ++i) {
      if (executors_[i]->nodes.empty()) continue;
      cannot_start(fmt::format(
          "an exact recording follows one loop, and executor {} has its own (move its nodes to the "
          "scheduler's, or run without HORUS_RECORD_SEAM)",
          executors_[i]->name()));
      co_return 1;
    }
  }
  if (config_.admission != Admission::off) {
    const Schedulability fits = check();
    if (!fits.schedulable) {
      if (config_.admission == Admission::refuse) {
        cannot_start("not schedulable: " + fits.problem);
        co_return 1;
      }
      log_warning("perhaps not schedulable: " + fits.problem);
    }
  }
  detail::Recordings recordings;
  if (auto begun = recordings.begin(
          config_.records, {[this] { return trouble(); }, [this] { return diagnose(); }, config_.file});
      !begun) {
    cannot_start(begun.error().message());
    auto ending = recordings.end();
    co_await shield(std::move(ending));
    co_return 1;
  }
  ended_.store(false, std::memory_order_relaxed);
  signals_read_.store(0, std::memory_order_relaxed);
  failed_ = end_was_late_ = false;
  Executor& main = *main_;
  const Attached attached(*this);
  detail::RunInsight insight(*this);
  std::optional<msg::door::Offer> offer;
  if (real_time) offer.emplace(insight);
  const std::int64_t end_ns = limit == Duration::max() ? kNever : saturating_add(now_ns(), limit.count());
  RunEnd end(*this, own_signals);
  if (monitored) {
    detail::MonitorPlan plan;
    plan.executors = all_executors();
    plan.emergency = &emergency_;
    plan.stop_requested = &stop_requested_;
    plan.signals_read = &signals_read_;
    plan.signals = end.signals();
    plan.exit_when_blocked = config_.exit_when_blocked;
    plan.end_ns = end_ns;
    monitor_->start(std::move(plan));
  }
  std::optional<detail::CrashGuard> crash;
  if (monitored && config_.safe_states_on_crash) crash.emplace(monitor_->hooks());
  Scope beside("watchdog");
  if (!real_time) static_cast<void>(beside.spawn(watch_ladders()));
  // A service manager, where there is one.
  std::optional<ServiceNotifier> service;
  if (own_signals && monitored) service.emplace();
  if (service && service->watchdog_interval())
    static_cast<void>(beside.spawn(feed_service(*service, *service->watchdog_interval())));
  Scope signals("signals");  // watched to the very end: a second one must still be heard
  if (end.signals() != 0) static_cast<void>(signals.spawn(watch_signals(end)));
  Scope clock("limit");  // of the start too
  if (end_ns != kNever) {
    static_cast<void>(clock.spawn([](std::int64_t at_ns, Event& stop) -> Task<> {
      co_await sleep_until(TimePoint(Duration(at_ns)));
      stop.set();
    }(end_ns, main.stop)));
  }
  int code = 0;
  std::exception_ptr failure;  // thrown on when everything that was started has ended
  try {
    auto living = start_and_release(service ? &*service : nullptr);
    const bool ready = co_await living;
    if (!ready && !stop_is_requested() && !main.stop.is_set()) code = 1;
  } catch (...) {
    failure = std::current_exception();
  }
  auto joining_clock = join_all(clock);
  co_await shield(std::move(joining_clock));
  // Whoever asked, from here on nobody can cut the shutdown short but its own limits.
  if (service) service->stopping();
  stop_requested_.store(true, std::memory_order_release);
  for (auto& executor : executors_) executor->poke();
  end.begin();
  auto stopping_nodes = main.stop_nodes();
  co_await shield(std::move(stopping_nodes));
  for (auto& companion : companions_) {
    auto ending = wait_for(companion->ended);
    co_await shield(std::move(ending));
    companion->thread.join();
  }
  companions_.clear();
  started_ = false;
  auto ending_recordings = recordings.end();
  co_await shield(std::move(ending_recordings));
  // A hook that hangs uses its node: the nodes must not go before it has returned.
  while (monitor_->hooks().busy()) {
    auto pause = pause_for_hooks();
    co_await shield(std::move(pause));
  }
  end.over();
  auto joining = join_all(beside);
  co_await shield(std::move(joining));
  auto joining_signals = join_all(signals);
  co_await shield(std::move(joining_signals));
  if (code == 0 && failed_) code = 1;
  if (end_was_late_ || monitor_->stop_was_late()) code = detail::SafetyMonitor::kExitStuck;
  ended_.store(true, std::memory_order_relaxed);
  stop_requested_.store(false, std::memory_order_relaxed);
  if (failure) std::rethrow_exception(failure);
  co_return code;
}

// Where time is virtual nothing blocks, and there are no threads: the loop looks itself.
Task<> Scheduler::watch_ladders() {
  const detail::Absences never_absent;
  while (true) {
    const std::vector<Executor*> all = all_executors();
    co_await sleep(Duration(detail::SafetyMonitor::period_of(all)));
    for (Executor* executor : all) {
      if (detail::SafetyMonitor::scan(*executor, now_ns(), never_absent, true).moved) executor->poke();
    }
  }
}

void Scheduler::apply_thread_settings() {
  // A simulated process shares its thread with others.
  if (!io::System::here().has_threads() || io::is_replay()) return;
  if (config_.timer_slack)
    ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(config_.timer_slack->count()), 0, 0, 0);
  if (config_.lock_memory) {
    const detail::MemoryLock lock = detail::lock_memory();
    if (!lock.whole)
      log_warning(
          fmt::format("not all memory is locked: {} (everything needs CAP_IPC_LOCK, or ulimit -l unlimited)",
                      lock.refused));
  }
  set_thread(config_.fifo_priority, config_.cpu);
}

int Scheduler::run_on_own_reactor(Duration limit, bool own_signals) {
  const Claim claim(*this, "run");
  apply_thread_settings();
  if (io::Reactor* current = io::Reactor::current(); current != nullptr && current != own_reactor_.get()) {
    return current->run(run_limited(limit, own_signals), "scheduler");
  }
  if (!own_reactor_) {
    own_reactor_ = std::make_shared<io::Reactor>(config_.reactor);
    started_on_ = std::this_thread::get_id();
  }
  const int code = own_reactor_->run(run_limited(limit, own_signals), "scheduler");
  own_reactor_.reset();
  static_cast<void>(flush_log());  // what was said last is seen, also before _exit()
  return code;
}

int Scheduler::run() { return run_on_own_reactor(Duration::max(), true); }
int Scheduler::run_for(Duration duration) { return run_on_own_reactor(duration, true); }

int Scheduler::tick_once() {
  const Claim claim(*this, "tick_once");
  ended_.store(false, std::memory_order_relaxed);
  try {
    if (!started_) settle(false);
  } catch (const Error& error) {
    cannot_start(error.message());
    return 1;
  }
  io::Reactor* reactor = io::Reactor::current();
  // One per thread, as whoever called tick_once() first may close() first.
  static thread_local std::weak_ptr<io::Reactor> of_this_thread;
  if (reactor == nullptr) {
    own_reactor_ = std::make_shared<io::Reactor>(config_.reactor);
    of_this_thread = own_reactor_;
    reactor = own_reactor_.get();
  } else if (auto shared = of_this_thread.lock(); shared.get() == reactor) {
    own_reactor_ = std::move(shared);
  }
  started_on_ = std::this_thread::get_id();
  Executor& main = *main_;
  const int code = reactor->run(
      [](Scheduler& self, Executor& here) -> Task<int> {
        const Attached attached(self);
        bool ready = self.started_;
        if (!ready) {
          auto starting = self.start_all();
          ready = co_await starting;
        }
        if (ready) {
          auto releasing = here.release_once();
          co_await releasing;
        } else {
          auto stopping = here.stop_nodes();
          co_await stopping;
          self.started_ = false;
        }
        co_return ready ? 0 : 1;
      }(*this, main),
      "scheduler");
  if (code != 0) own_reactor_.reset();
  return code;
}

void Scheduler::close() {
  const Claim claim(*this, "close");
  if (started_) {
    HORUS_ASSERT(io::Reactor::current() != nullptr,
                 "the reactor of tick_once() is gone; close() before it ends");
    io::Reactor::current()->run(
        [](Scheduler& self) -> Task<> {
          const Attached attached(self);
          auto stopping = self.main_->stop_nodes();
          co_await stopping;
        }(*this),
        "scheduler");
    started_ = false;
  }
  own_reactor_.reset();
}

}  // namespace horus::HORUS_ABI
