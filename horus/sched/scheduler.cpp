// SPDX-License-Identifier: Apache-2.0
// A run from beginning to end: start the nodes, release them until somebody says stop, shut them down.
#include <horus/sched/scheduler.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <future>
#include <thread>
#include <typeinfo>

#include <cxxabi.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/executor.hpp>
#include <horus/sched/node_record.hpp>
#include <horus/sched/safety_monitor.hpp>
#include <horus/sched/service_notifier.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus {

using detail::Executor;
using detail::NodeRecord;

namespace {

constexpr int kExitStuck = 75;  // EX_TEMPFAIL: a supervisor should start us again
constexpr Duration kStopLimit =
    std::chrono::milliseconds(4900);  // everything after the stop request, and then
constexpr Duration kLastMoment =
    std::chrono::milliseconds(100);  // for what a blocked loop had kept from running

// "rover::(anonymous namespace)::ImuReader" → "imu_reader".
std::string snake_case_of(const NodeBase& node) {
  int status = 0;
  char* demangled = abi::__cxa_demangle(typeid(node).name(), nullptr, nullptr, &status);
  std::string full = status == 0 ? demangled : typeid(node).name();
  std::free(demangled);
  if (const auto bracket = full.find('<'); bracket != std::string::npos) full.resize(bracket);
  if (const auto colon = full.rfind(':'); colon != std::string::npos) full = full.substr(colon + 1);
  std::string name;
  for (std::size_t i = 0; i < full.size(); ++i) {
    const char c = full[i];
    const bool upper = c >= 'A' && c <= 'Z';
    const bool after_lower = i > 0 && !(full[i - 1] >= 'A' && full[i - 1] <= 'Z');
    const bool before_lower = i + 1 < full.size() && full[i + 1] >= 'a' && full[i + 1] <= 'z';
    if (upper && i > 0 && (after_lower || before_lower) && full[i - 1] != '_') name += '_';
    name += upper ? static_cast<char>(c | 0x20) : c;
  }
  return name;
}

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

Error refuse(const char* what, const NodeRecord& record, const std::string& why) {
  return Error(EINVAL, what, fmt::format("node \"{}\" ({})", record.node_name(), why));
}

Result<> check_deadline(const char* what, const NodeRecord& record, Duration deadline) {
  if (deadline >= Duration::zero() && deadline <= NodeSettings::kMaxDeadline) return {};
  return refuse(what, record, fmt::format("{} ms: 0 to 10000", static_cast<double>(deadline.count()) / 1e6));
}

Result<> check_watchdog(const NodeRecord& record, Duration timeout) {
  if (timeout >= NodeSettings::kLeastWatchdog && timeout <= NodeSettings::kMostWatchdog) return {};
  return refuse("watchdog", record,
                fmt::format("{} ms: 10 to 60000", static_cast<double>(timeout.count()) / 1e6));
}

}  // namespace

/// A thread of its own, with its executor.
struct Scheduler::Companion {
  explicit Companion(Executor& its) : executor(its) {}
  Executor& executor;
  std::thread thread;
  Event go;              // on its loop
  bool wanted = false;   // go means: release
  Event started, ended;  // on the loop of the first executor
  bool ok = false;
};

// --- Building ---------------------------------------------------------------------------------------------------------

NodeBuilder& NodeBuilder::rate(Rate rate) {
  if (!(rate.hz > 0 && rate.hz <= NodeSettings::kMaxRate_hz)) {
    throw Error(EINVAL, "rate",
                fmt::format("{} Hz of node \"{}\": above 0 up to 100000", rate.hz, record_.node_name()));
  }
  record_.settings.rate = rate;
  return *this;
}
NodeBuilder& NodeBuilder::priority(int priority) {
  record_.settings.priority = priority;
  return *this;
}
NodeBuilder& NodeBuilder::name(std::string name) {
  scheduler_.check_name(record_, name);
  record_.node->explicitly_named_ = true;
  record_.node->name_ = std::move(name);
  record_.set_name(record_.node->name_);
  return *this;
}
NodeBuilder& NodeBuilder::deadline(Duration deadline) {
  check_deadline("deadline", record_, deadline).or_throw();
  record_.settings.deadline = deadline;
  return *this;
}
NodeBuilder& NodeBuilder::budget(Duration budget) {
  check_deadline("budget", record_, budget).or_throw();
  record_.settings.budget = budget;
  return *this;
}
NodeBuilder& NodeBuilder::on_miss(Miss reaction) {
  record_.settings.on_miss = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::on_budget(Miss reaction) {
  if (reaction == Miss::cancel)
    throw refuse("on_budget", record_,
                 "cancel needs a suspension point: use another reaction, or a deadline");
  record_.settings.on_budget = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::overrun(Overrun reaction) {
  record_.settings.overrun = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::watchdog(Duration timeout) {
  check_watchdog(record_, timeout).or_throw();
  record_.settings.watchdog_enabled = true;
  record_.settings.watchdog = timeout;
  return *this;
}
NodeBuilder& NodeBuilder::critical(bool critical) {
  record_.settings.critical = critical;
  return *this;
}
NodeBuilder& NodeBuilder::miss_is_failure(bool counts) {
  record_.settings.miss_is_failure = counts;
  return *this;
}
NodeBuilder& NodeBuilder::circuit_breaker(bool enabled) {
  record_.settings.circuit_breaker = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::auto_restart(bool enabled) {
  record_.settings.auto_restart = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::executor(std::string name) {
  record_.settings.executor = std::move(name);
  return *this;
}
NodeBuilder& NodeBuilder::logging(bool enabled) {
  record_.settings.logging_enabled = enabled;
  return *this;
}
NodeBase& NodeBuilder::node() const noexcept { return *record_.node; }

Scheduler::Scheduler(SchedulerConfig config) : config_(std::move(config)) {
  config_.reactor.timer_spin = std::max(config_.reactor.timer_spin, config_.spin);
  executors_.push_back(
      std::make_unique<Executor>(*this, "", ExecutorConfig{config_.cpu, config_.fifo_priority, {}}));
  main_ = executors_.front().get();
  monitor_ = std::make_unique<detail::SafetyMonitor>();
}

Scheduler::~Scheduler() {
  HORUS_ASSERT(!running_.load(), "a Scheduler died while it ran; stop() it and let run_async() end first");
  if (started_ && own_reactor_) {
    Executor& main = *main_;
    own_reactor_->run(main.stop_nodes(), "scheduler");
  }
  executors_.clear();
  nodes_.clear();  // before the reactor: what nodes hold is closed through it
}

void Scheduler::check_not_running(const char* what) const {
  if (running_.load(std::memory_order_relaxed))
    throw Error(EBUSY, what, "(the scheduler is running; do it before the run)");
}

void Scheduler::check_name(const NodeRecord& record, const std::string& name) const {
  if (name.empty()) throw Error(EINVAL, "add node", "(its name is empty)");
  for (const auto& other : nodes_) {
    if (other.get() != &record && other->node->explicitly_named_ && other->node_name() == name) {
      throw Error(EEXIST, "add node", fmt::format("\"{}\" (give one of the two another name)", name));
    }
  }
}

NodeBuilder Scheduler::adopt(std::shared_ptr<NodeBase> node) {
  check_not_running("add node");
  if (node == nullptr) throw Error(EINVAL, "add node", "(a null pointer)");
  auto record = std::make_unique<NodeRecord>(std::move(node), nodes_.size());
  if (record->node->explicitly_named_) {
    check_name(*record, record->node->name_);
    record->set_name(record->node->name_);
  } else {
    record->set_name(snake_case_of(*record->node));
  }
  nodes_.push_back(std::move(record));
  return {*this, *nodes_.back()};
}

// Names that come from classes: the second Gps is gps_2.
void Scheduler::settle_names() {
  const auto taken = [&](const std::string& name, const NodeRecord* self) {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& other) {
      return other.get() != self && other->node_name() == name &&
             (other->node->explicitly_named_ || other->index < self->index);
    });
  };
  for (auto& record : nodes_) {
    if (record->node->explicitly_named_) continue;
    const std::string base = snake_case_of(*record->node);
    std::string name = base;
    for (int n = 2; taken(name, record.get()); ++n) name = fmt::format("{}_{}", base, n);
    if (record->node->name_ != name) record->node->name_ = name;
    if (record->node_name() != name) record->set_name(name);
  }
}

Scheduler& Scheduler::tick_rate(Rate rate) {
  if (!(rate.hz > 0 && rate.hz <= NodeSettings::kMaxRate_hz)) {
    throw Error(EINVAL, "tick_rate", fmt::format("{} Hz: above 0 up to 100000", rate.hz));
  }
  config_.tick_rate = rate;
  return *this;
}

Scheduler& Scheduler::executor(std::string name, ExecutorConfig config) {
  check_not_running("executor");
  if (name.empty()) throw Error(EINVAL, "executor", "(its name is empty)");
  if (config.rt_priority < 0 || config.rt_priority > 99)
    throw Error(EINVAL, "executor", fmt::format("{} (rt_priority {}: 0 to 99)", name, config.rt_priority));
  config_.executors[std::move(name)] = config;
  return *this;
}

// Who runs where; checks what only now can be checked.
void Scheduler::settle(bool threads) {
  const std::lock_guard lock(mutex_);
  settle_names();
  for (const auto& [name, overrides] : config_.nodes) {
    if (find_node(name) != nullptr) continue;
    std::string names;
    for (const auto& record : nodes_) names += (names.empty() ? "" : ", ") + record->node_name();
    throw Error(EINVAL, "configure", fmt::format("node \"{}\" (there are: {})", name, names));
  }
  Executor& main = *main_;
  std::vector<std::unique_lock<std::mutex>> held;
  held.reserve(executors_.size());
  for (auto& executor : executors_) held.push_back(executor->hold());
  for (auto& executor : executors_) executor->nodes.clear();  // they stay, for whoever still asks one
  for (auto& record : nodes_) {
    config_.override(record->node_name(), record->settings);
    const std::string& wanted = record->settings.executor;
    if (!wanted.empty() && !config_.executors.contains(wanted)) {
      std::string names;
      for (const auto& [name, config] : config_.executors) names += (names.empty() ? "" : ", ") + name;
      throw Error(
          EINVAL, "start",
          fmt::format("executor \"{}\" of node \"{}\" ({})", wanted, record->node_name(),
                      names.empty() ? "none is described: Scheduler::executor" : "there are: " + names));
    }
    Executor* on = &main;
    if (threads && !wanted.empty()) {
      const auto found = std::find_if(executors_.begin() + 1, executors_.end(),
                                      [&](const auto& executor) { return executor->name() == wanted; });
      if (found != executors_.end()) {
        on = found->get();
      } else {
        on = executors_.emplace_back(std::make_unique<Executor>(*this, wanted, config_.executors.at(wanted)))
                 .get();
      }
    }
    record->prepare(*on, config_);
    on->nodes.push_back(record.get());
  }
  for (auto& executor : executors_) executor->timeline.reserve(config_.timeline_events);
  settled_ = true;
}

Schedulability Scheduler::check() const {
  Schedulability result;
  std::map<std::string, Schedulability::Share> shares;
  std::map<std::string, std::size_t> counts;
  for (const auto& record : nodes_) {
    NodeSettings settings = record->settings;
    config_.override(record->node_name(), settings);
    const double hz = settings.rate.hz > 0            ? settings.rate.hz
                      : record->plain_node != nullptr ? config_.tick_rate.hz
                                                      : 0;
    if (hz == 0) continue;
    Schedulability::Share& share = shares[settings.executor];
    if (settings.budget <= Duration::zero()) {
      ++share.unknown;
      continue;
    }
    share.utilisation += static_cast<double>(settings.budget.count()) / 1e9 * hz;
    ++counts[settings.executor];
  }
  for (auto& [name, share] : shares) {
    share.executor = name;
    const auto n = static_cast<double>(std::max<std::size_t>(counts[name], 1));
    // Liu and Layland's bound for rate-monotonic priorities; ticks are not preempted, so it is a hint in any case.
    share.bound = config_.policy == Policy::rate_monotonic ? n * (std::pow(2.0, 1 / n) - 1) : 1.0;
    if (share.utilisation > share.bound) {
      result.schedulable = false;
      result.problem +=
          fmt::format("{}the budgets of {} add up to {:.0f} % of its time, and {} can keep up with {:.0f} %",
                      result.problem.empty() ? "" : "; ",
                      name.empty() ? "the scheduler's thread" : "executor \"" + name + "\"",
                      100 * share.utilisation, to_string(config_.policy), 100 * share.bound);
    }
    result.executors.push_back(share);
  }
  return result;
}

// --- Running ----------------------------------------------------------------------------------------------------------

namespace {

// Ends a process whose shutdown hangs. A tick that blocked the loop may have kept everything else from running until
// now, so the first expiry only grants what is ready one more moment.
struct StuckTimer : io::Timer {
  bool warned = false;
  StuckTimer() {
    expired = [](io::Timer& timer) noexcept {
      auto& self = static_cast<StuckTimer&>(timer);
      if (!std::exchange(self.warned, true)) {
        io::Reactor::current()->timers().insert(self, saturating_add(now_ns(), kLastMoment.count()));
        return;
      }
      log_error("the shutdown did not end in time; still waiting:\n" + dump_tasks());
      io::Reactor::current()->backend().exit_now(kExitStuck);
    };
  }
};

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

Task<int> Scheduler::run_async() { return run_limited(Duration::max(), false); }

Task<int> Scheduler::run_main(Duration limit, bool own_signals) {
  apply_thread_settings();
  return run_limited(limit, own_signals);
}

void Scheduler::run_companion(Companion& companion) {
  Executor& main = *main_;
  const ExecutorConfig& config = companion.executor.config();
  ::pthread_setname_np(::pthread_self(), companion.executor.name().substr(0, 15).c_str());
  try {
    set_thread(config.rt_priority, config.cpu);
    if (config_.timer_slack)
      ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(config_.timer_slack->count()), 0, 0, 0);
    io::ReactorConfig reactor_config = config_.reactor;
    if (config.spin > Duration::zero()) reactor_config.timer_spin = config.spin;
    io::Reactor reactor(reactor_config);
    reactor.run(live(companion), "executor");
  } catch (const std::exception& error) {
    log_error(fmt::format("executor {}: {}", companion.executor.name(), error.what()));
  }
  main.tell([&companion] {
    companion.started.set();
    companion.ended.set();
  });
}

// The life of a companion's nodes, on its loop.
Task<> Scheduler::live(Companion& companion) {
  Executor& executor = companion.executor;
  executor.attach();
  auto starting = start_unless_stopped(executor);
  const bool ok = co_await starting;
  main_->tell([&companion, ok] {
    companion.ok = ok;
    companion.started.set();
  });
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
    companion->executor.tell([to = &companion->executor] { to->stop.set(); });
  }
}

// True when every node of every executor has started.
Task<bool> Scheduler::start_all() {
  close_stale_ports();
  for (std::size_t i = 1; i < executors_.size(); ++i) {
    if (executors_[i]->nodes.empty()) continue;
    companions_.push_back(std::make_unique<Companion>(*executors_[i]));
    Companion& companion = *companions_.back();
    companion.thread = std::thread([this, &companion] { run_companion(companion); });
  }
  started_ = true;
  auto starting = start_unless_stopped(*main_);
  bool ok = co_await starting;
  if (!ok) stop_companions();
  for (auto& companion : companions_) {
    co_await companion->started.wait();
    ok = ok && companion->ok;
  }
  if (!ok) co_return false;
  try {
    check_connections();
  } catch (const Error& error) {
    log_error(error.message());
    co_return false;
  }
  co_return true;
}

Task<int> Scheduler::run_limited(Duration limit, bool own_signals) {
  check_not_running("run");
  io::Reactor& reactor = *io::Reactor::current();
  const bool real_time = !reactor.backend().has_virtual_clock();
  try {
    if (!started_) settle(real_time);
  } catch (const Error& error) {
    log_error(error.message());
    co_return 1;
  }
  if (config_.admission != Admission::off) {
    const Schedulability fits = check();
    if (!fits.schedulable) {
      if (config_.admission == Admission::refuse) {
        log_error("not schedulable: " + fits.problem);
        co_return 1;
      }
      log_warning("perhaps not schedulable: " + fits.problem);
    }
  }
  running_.store(true, std::memory_order_relaxed);
  Executor& main = *main_;
  main.attach();
  if (real_time) {
    monitor_->start(all_executors(), emergency_, stop_requested_, own_signals, config_.exit_when_blocked);
  }
  Scope beside("watchdog");
  if (!real_time) static_cast<void>(beside.spawn(watch_ladders()));
  // A service manager, where there is one.
  std::optional<ServiceNotifier> service;
  if (own_signals && real_time) service.emplace();
  if (service && service->watchdog_interval())
    static_cast<void>(beside.spawn(feed_service(*service, *service->watchdog_interval())));
  Scope signals("signals");  // watched to the very end: a second one must still be heard
  if (own_signals) static_cast<void>(signals.spawn(watch_signals()));
  int code = 0;
  bool ready = started_;
  if (!ready) {
    auto starting = start_all();
    ready = co_await shield(std::move(starting));
    if (!ready && !stop_is_requested()) code = 1;
  }
  for (auto& companion : companions_) {
    companion->executor.tell([to = companion.get(), ready] {
      to->wanted = ready;
      to->go.set();
    });
  }
  if (ready) {
    if (service) service->ready();
    Scope clock("limit");
    if (limit != Duration::max()) {
      static_cast<void>(clock.spawn([](Duration after, Event& stop) -> Task<> {
        co_await sleep(after);
        stop.set();
      }(limit, main.stop)));
    }
    auto releasing = main.release();
    co_await releasing;
    auto joining = join_all(clock);
    co_await shield(std::move(joining));
  }
  // Whoever asked, from here on nobody can cut the shutdown short but its own limits.
  if (service) service->stopping();
  stop_requested_.store(true, std::memory_order_release);
  for (auto& executor : executors_) executor->poke();
  StuckTimer stuck;
  if (own_signals) reactor.timers().insert(stuck, saturating_add(now_ns(), kStopLimit.count()));
  auto stopping_nodes = main.stop_nodes();
  co_await shield(std::move(stopping_nodes));
  for (auto& companion : companions_) {
    auto ending = wait_for(companion->ended);
    co_await shield(std::move(ending));
    companion->thread.join();
  }
  companions_.clear();
  started_ = false;
  if (own_signals) reactor.timers().cancel(stuck);
  auto joining = join_all(beside);
  co_await shield(std::move(joining));
  auto joining_signals = join_all(signals);
  co_await shield(std::move(joining_signals));
  monitor_->stop();
  main.detach();
  stop_requested_.store(false, std::memory_order_relaxed);
  running_.store(false, std::memory_order_relaxed);
  co_return code;
}

// Where time is virtual nothing blocks, and there are no threads: the loop looks itself.
Task<> Scheduler::watch_ladders() {
  while (true) {
    const std::vector<Executor*> all = all_executors();
    co_await sleep(Duration(detail::SafetyMonitor::period_of(all)));
    for (Executor* executor : all) {
      if (detail::SafetyMonitor::scan(*executor, now_ns())) executor->poke();
    }
  }
}

// The first SIGINT or SIGTERM stops gracefully; the second goes straight to the safe states and out.
Task<> Scheduler::watch_signals() {
  std::optional<io::SignalSet> watched;
  try {
    watched.emplace(std::initializer_list<int>{SIGINT, SIGTERM});
  } catch (const Error& error) {
    log_warning("Ctrl-C will not stop this scheduler: " + error.message());
    co_return;
  }
  io::SignalSet& signals = *watched;
  auto first = co_await signals.next();
  if (!first) co_return;
  log_info(fmt::format("{}: stopping (once more to stop at once)",
                       first->number == SIGINT ? "SIGINT" : "SIGTERM"));
  stop();
  auto watching_on = signals.next();
  auto second = co_await watching_on;
  if (!second) co_return;
  for (auto& record : nodes_) record->enter_safe_state();
  io::Reactor::current()->backend().exit_now(128 + second->number);
}

void Scheduler::apply_thread_settings() {
  // A simulated process shares its thread with others.
  if (io::Reactor* reactor = io::Reactor::current();
      reactor != nullptr && reactor->backend().has_virtual_clock())
    return;
  if (config_.timer_slack)
    ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(config_.timer_slack->count()), 0, 0, 0);
  if (config_.lock_memory && ::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) {
    log_warning("mlockall was refused: " + describe_code(errno) +
                " (needs CAP_IPC_LOCK or a higher ulimit -l)");
  }
  set_thread(config_.fifo_priority, config_.cpu);
}

int Scheduler::run_on_own_reactor(Duration limit, bool own_signals) {
  check_not_running("run");
  apply_thread_settings();
  if (io::Reactor* current = io::Reactor::current(); current != nullptr && current != own_reactor_.get()) {
    return current->run(run_limited(limit, own_signals), "scheduler");
  }
  if (!own_reactor_) own_reactor_ = std::make_unique<io::Reactor>(config_.reactor);
  const int code = own_reactor_->run(run_limited(limit, own_signals), "scheduler");
  own_reactor_.reset();
  return code;
}

int Scheduler::run() { return run_on_own_reactor(Duration::max(), true); }
int Scheduler::run_for(Duration duration) { return run_on_own_reactor(duration, true); }

int Scheduler::tick_once() {
  check_not_running("tick_once");
  io::Reactor* reactor = io::Reactor::current();
  if (reactor == nullptr) {
    own_reactor_ = std::make_unique<io::Reactor>(config_.reactor);
    reactor = own_reactor_.get();
  }
  Executor& main = *main_;
  try {
    if (!started_) settle(false);
  } catch (const Error& error) {
    log_error(error.message());
    return 1;
  }
  return reactor->run(
      [](Scheduler& self, Executor& here) -> Task<int> {
        here.attach();
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
        here.detach();
        co_return ready ? 0 : 1;
      }(*this, main),
      "scheduler");
}

// --- From anywhere ----------------------------------------------------------------------------------------------------

void Scheduler::stop() noexcept {
  stop_requested_.store(true, std::memory_order_release);
  main_->poke();
}

void Scheduler::emergency_stop() noexcept {
  emergency_.store(true, std::memory_order_release);
  monitor_->notify();
  main_->poke();
}

void Scheduler::reset_emergency_stop() noexcept {
  for (const auto& record : nodes_) record->vitals.in_safe_state.store(false, std::memory_order_relaxed);
  emergency_.store(false, std::memory_order_release);
  main_->poke();
}

void Scheduler::pass_on(const Executor& from) noexcept {
  if (&from != main_) return;
  for (std::size_t i = 1; i < executors_.size(); ++i) executors_[i]->poke();
}

Result<NodeRecord*> Scheduler::known_node(const char* what, std::string_view name) const {
  const std::lock_guard lock(mutex_);
  if (NodeRecord* record = find_node(name)) return record;
  std::string names;
  for (const auto& record : nodes_) names += (names.empty() ? "" : ", ") + record->node_name();
  return Error(EINVAL, what, fmt::format("node \"{}\" (there are: {})", name, names));
}

Result<> Scheduler::control(const char* what, std::string_view name, std::function<void(NodeRecord&)> work) {
  auto record = known_node(what, name);
  if (!record) return record.error();
  Executor* executor = nullptr;
  {
    const std::lock_guard lock(mutex_);
    executor = (*record)->executor;
    if (executor == nullptr) {
      work(**record);
      return {};
    }
  }
  if (executor->is_here()) {
    work(**record);
  } else {
    executor->tell([work = std::move(work), record = *record] { work(*record); });
  }
  return {};
}

Result<> Scheduler::pause(std::string_view node) {
  return control("pause", node, [](NodeRecord& record) { record.pause(true); });
}
Result<> Scheduler::resume(std::string_view node) {
  return control("resume", node, [](NodeRecord& record) { record.pause(false); });
}
Result<> Scheduler::restart(std::string_view node) {
  return control("restart", node, [](NodeRecord& record) {
    if (record.executor != nullptr && record.executor->is_here()) record.executor->restart(record, true);
  });
}
Result<> Scheduler::open_circuit(std::string_view node) {
  return control("open circuit", node, [](NodeRecord& record) { record.force_open(); });
}
Result<> Scheduler::reset_circuit(std::string_view node) {
  return control("reset circuit", node, [](NodeRecord& record) { record.reset_circuit(); });
}
Result<> Scheduler::set_node_deadline(std::string_view node, Duration deadline) {
  auto record = known_node("set_node_deadline", node);
  if (!record) return record.error();
  if (auto sound = check_deadline("set_node_deadline", **record, deadline); !sound) return sound;
  return control("set_node_deadline", node, [deadline](NodeRecord& of) {
    of.settings.deadline = deadline;
    of.settings_changed();
  });
}
Result<> Scheduler::set_node_watchdog(std::string_view node, bool enabled, Duration timeout) {
  auto record = known_node("set_node_watchdog", node);
  if (!record) return record.error();
  if (auto sound = check_watchdog(**record, timeout); !sound) return sound;
  return control("set_node_watchdog", node, [enabled, timeout](NodeRecord& of) {
    of.settings.watchdog_enabled = enabled;
    of.settings.watchdog = timeout;
    of.settings_changed();
  });
}

// --- Questions --------------------------------------------------------------------------------------------------------

std::vector<std::string> Scheduler::node_list() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  names.reserve(nodes_.size());
  for (const auto& record : nodes_) names.push_back(record->node_name());
  return names;
}

std::vector<Executor*> Scheduler::all_executors() const {
  std::vector<Executor*> all(executors_.size());
  std::transform(executors_.begin(), executors_.end(), all.begin(),
                 [](const auto& one) { return one.get(); });
  return all;
}

// Asks every executor on its own thread, one after another, and waits for the answers.
void Scheduler::ask_each(const std::function<void(Executor&)>& question) const {
  std::vector<Executor*> all;
  {
    const std::lock_guard lock(mutex_);
    all = all_executors();
  }
  for (Executor* executor : all) {
    if (executor->is_here()) {
      question(*executor);
      continue;
    }
    std::promise<void> answered;
    executor->tell([&] {
      question(*executor);
      answered.set_value();
    });
    answered.get_future().wait();
  }
}

std::vector<NodeStatistics> Scheduler::statistics() const {
  std::vector<NodeStatistics> all(nodes_.size());
  {
    const std::lock_guard lock(mutex_);
    if (!settled_) {
      for (const auto& record : nodes_) all[record->index] = record->statistics();
      return all;
    }
  }
  ask_each([&](Executor& executor) {
    for (const NodeRecord* record : executor.nodes) all[record->index] = record->statistics();
  });
  const std::lock_guard lock(wiring_);
  for (const auto& record : nodes_) {
    NodeStatistics& node = all[record->index];
    for (const auto& port : record->node->ports_) {
      const auto alive = port.port.lock();
      if (alive == nullptr) continue;
      if (const auto outbox = alive->shared_outbox()) node.messages_sent += outbox->metrics().published;
      if (const auto inbox = alive->shared_inbox()) {
        const SubscriberMetrics metrics = inbox->metrics();
        node.messages_received += metrics.received;
        node.messages_queued += metrics.queued;
        node.messages_high_water = std::max(node.messages_high_water, metrics.high_water);
      }
    }
  }
  return all;
}

std::optional<NodeStatistics> Scheduler::statistics(std::string_view name) const {
  for (NodeStatistics& node : statistics()) {
    if (node.name == name) return std::move(node);
  }
  return std::nullopt;
}

Timeline Scheduler::timeline() const {
  Timeline timeline;
  timeline.title = fmt::format("horus {}", config_.preset);
  timeline.nodes.resize(nodes_.size());
  ask_each([&](Executor& executor) {
    executor.timeline.append_to(timeline);
    for (const NodeRecord* record : executor.nodes) {
      timeline.nodes[record->index] = {record->node_name(), record->settings.rate.hz,
                                       record->settings.deadline.count(), record->settings.executor};
    }
  });
  std::sort(timeline.events.begin(), timeline.events.end(),
            [](const TimelineEvent& a, const TimelineEvent& b) {
              return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns < b.end_ns;
            });
  return timeline;
}

namespace {

std::string in_us(std::uint64_t ns) {
  if (ns < 10'000'000) return fmt::format("{:.1f} us", static_cast<double>(ns) / 1e3);
  return fmt::format("{:.1f} ms", static_cast<double>(ns) / 1e6);
}

std::string rate_of(const NodeStatistics& node) {
  return node.rate_hz == 0 ? "event" : fmt::format("{:g} Hz", node.tick_rate_hz);
}

}  // namespace

std::string Scheduler::status() const {
  std::string table =
      fmt::format("{:<20} {:>8} {:>4} {:<12} {:>10} {:>8} {:>8} {:>10} {:>10}\n", "node", "rate", "prio",
                  "state", "ticks", "failed", "skipped", "late p99", "exec p99");
  for (const NodeStatistics& node : statistics()) {
    table += fmt::format("{:<20} {:>8} {:>4} {:<12} {:>10} {:>8} {:>8} {:>10} {:>10}\n", node.name,
                         rate_of(node), node.priority, to_string(node.state), node.total_ticks,
                         node.failed_ticks, node.ticks_skipped, in_us(node.release_lateness.percentile(99)),
                         in_us(node.execution.percentile(99)));
  }
  return table;
}

std::string Scheduler::report(Detail detail) const {
  const std::vector<NodeStatistics> nodes = statistics();
  std::string text =
      fmt::format("{:<20} {:>8} {:<12} {:<10} {:>9} {:>7} {:>7} {:>7} {:>7} {:>6} {:>9} {:>9} {:>9}\n",
                  "node", "rate", "state", "circuit", "ticks", "failed", "cancel.", "skipped", "missed",
                  "restr.", "late p99", "exec p99", "resp p99");
  for (const NodeStatistics& node : nodes) {
    text += fmt::format("{:<20} {:>8} {:<12} {:<10} {:>9} {:>7} {:>7} {:>7} {:>7} {:>6} {:>9} {:>9} {:>9}\n",
                        node.name, rate_of(node), to_string(node.state), to_string(node.circuit_state),
                        node.total_ticks, node.failed_ticks, node.cancelled_ticks, node.ticks_skipped,
                        node.deadline_misses, node.restarts, in_us(node.release_lateness.percentile(99)),
                        in_us(node.execution.percentile(99)), in_us(node.response.percentile(99)));
  }
  if (emergency_stopped()) text += "EMERGENCY STOP: no node is released until it is reset\n";
  if (detail != Detail::awaits) return text;
  text += fmt::format("\n{:<20} {:<24} {:<28} {:>9} {:>11} {:>11}\n", "node", "waits for", "at", "times",
                      "total", "worst");
  for (const NodeStatistics& node : nodes) {
    for (const AwaitStatistics& wait : node.awaits) {
      const auto slash = wait.place.rfind('/');
      text += fmt::format("{:<20} {:<24} {:<28} {:>9} {:>11} {:>11}\n", node.name, wait.operation,
                          slash == std::string::npos ? wait.place : wait.place.substr(slash + 1), wait.count,
                          in_us(wait.total_ns), in_us(wait.worst_ns));
    }
  }
  text += fmt::format("\n{:<20} {:>12} {:>12} {:>12} {:>12}\n", "node", "sent", "received", "queued now",
                      "queued most");
  for (const NodeStatistics& node : nodes) {
    if (node.messages_sent + node.messages_received + node.messages_high_water == 0) continue;
    text += fmt::format("{:<20} {:>12} {:>12} {:>12} {:>12}\n", node.name, node.messages_sent,
                        node.messages_received, node.messages_queued, node.messages_high_water);
  }
  ask_each([&](Executor& executor) { text += executor.time_shares(); });
  return text;
}

}  // namespace horus
