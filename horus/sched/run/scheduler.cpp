// SPDX-License-Identifier: Apache-2.0
// A run from beginning to end: start the nodes, release them until somebody says stop, shut them down.
#include <horus/sched/scheduler.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <typeinfo>

#include <cxxabi.h>
#include <sched.h>
#include <sys/prctl.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/base/uncaught.hpp>
#include <horus/config/tree.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/crash_guard.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/run/memory_lock.hpp>
#include <horus/sched/run/run_end.hpp>
#include <horus/sched/run/safety_monitor.hpp>
#include <horus/sched/run/service_notifier.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus {

using detail::Executor;
using detail::NodeRecord;
using detail::RunEnd;

namespace {

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

// Before the first run a plain node has no rate of its own, and prepare() looks.
Result<> check_watchdog(const NodeRecord& record, Duration timeout) {
  if (record.periodic() && timeout < 3 * record.settings.rate.period()) {
    return refuse("watchdog", record,
                  fmt::format("{} ms is shorter than 3 periods of {} Hz, {} ms",
                              static_cast<double>(timeout.count()) / 1e6, record.settings.rate.hz,
                              static_cast<double>(3 * record.settings.rate.period().count()) / 1e6));
  }
  if (timeout >= NodeSettings::kLeastWatchdog && timeout <= NodeSettings::kMostWatchdog) return {};
  return refuse("watchdog", record,
                fmt::format("{} ms: 10 to 60000", static_cast<double>(timeout.count()) / 1e6));
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
  scheduler_.check_not_running("rate");
  if (!(rate.hz > 0 && rate.hz <= NodeSettings::kMaxRate_hz)) {
    throw Error(EINVAL, "rate",
                fmt::format("{} Hz of node \"{}\": above 0 up to 100000", rate.hz, record_.node_name()));
  }
  record_.settings.rate = rate;
  return *this;
}
NodeBuilder& NodeBuilder::priority(int priority) {
  scheduler_.check_not_running("priority");
  if (priority < 0 || priority > NodeSettings::kMaxPriority)
    throw refuse("priority", record_,
                 fmt::format("{}: 0 (first) to {}", priority, NodeSettings::kMaxPriority));
  record_.settings.priority = priority;
  return *this;
}
NodeBuilder& NodeBuilder::name(std::string name) {
  scheduler_.check_not_running("name");
  scheduler_.check_name(record_, name);
  record_.node->explicitly_named_ = true;
  record_.node->name_ = std::move(name);
  record_.set_name(record_.node->name_);
  return *this;
}
NodeBuilder& NodeBuilder::deadline(Duration deadline) {
  scheduler_.check_not_running("deadline");
  check_deadline("deadline", record_, deadline).or_throw();
  record_.settings.deadline = deadline;
  return *this;
}
NodeBuilder& NodeBuilder::budget(Duration budget) {
  scheduler_.check_not_running("budget");
  check_deadline("budget", record_, budget).or_throw();
  record_.settings.budget = budget;
  return *this;
}
NodeBuilder& NodeBuilder::on_miss(Miss reaction) {
  scheduler_.check_not_running("on_miss");
  if (reaction == Miss::cancel && record_.plain_node != nullptr)
    throw refuse("on_miss", record_, detail::kPlainNodeCannotCancel);
  record_.settings.on_miss = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::on_budget(Miss reaction) {
  scheduler_.check_not_running("on_budget");
  if (reaction == Miss::cancel)
    throw refuse("on_budget", record_,
                 "cancel needs a suspension point: use another reaction, or a deadline");
  record_.settings.on_budget = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::overrun(Overrun reaction) {
  scheduler_.check_not_running("overrun");
  record_.settings.overrun = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::watchdog(Duration timeout) {
  scheduler_.check_not_running("watchdog");
  if (timeout < NodeSettings::kLeastWatchdog || timeout > NodeSettings::kMostWatchdog)
    check_watchdog(record_, timeout).or_throw();
  record_.settings.watchdog_enabled = true;
  record_.settings.watchdog = timeout;
  return *this;
}
NodeBuilder& NodeBuilder::critical(bool critical) {
  scheduler_.check_not_running("critical");
  record_.settings.critical = critical;
  return *this;
}
NodeBuilder& NodeBuilder::keep_in_emergency(bool keep) {
  record_.settings.keep_in_emergency = keep;
  return *this;
}
NodeBuilder& NodeBuilder::miss_is_failure(bool counts) {
  scheduler_.check_not_running("miss_is_failure");
  record_.settings.miss_is_failure = counts;
  return *this;
}
NodeBuilder& NodeBuilder::circuit_breaker(bool enabled) {
  scheduler_.check_not_running("circuit_breaker");
  record_.settings.circuit_breaker = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::auto_restart(bool enabled) {
  scheduler_.check_not_running("auto_restart");
  record_.settings.auto_restart = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::restart(const RestartConfig& config) {
  if (!(config.jitter >= 0 && config.jitter <= 0.5) || config.first_delay < Duration::zero() ||
      config.longest_delay < Duration::zero() || config.within < Duration::zero())
    throw refuse("restart", record_, "delays of 0 or more, and a jitter of 0 to 0.5");
  record_.settings.restart = config;
  record_.settings.auto_restart = true;
  return *this;
}
NodeBuilder& NodeBuilder::executor(std::string name) {
  scheduler_.check_not_running("executor");
  record_.settings.executor = std::move(name);
  return *this;
}
NodeBuilder& NodeBuilder::logging(bool enabled) {
  scheduler_.check_not_running("logging");
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
  HORUS_ASSERT(own_reactor_ == nullptr || started_on_ == std::this_thread::get_id(),
               "a Scheduler died on another thread than that of its tick_once(); close() it there first");
  if (own_reactor_) close();
  executors_.clear();
  nodes_.clear();  // before the reactor: what nodes hold is closed through it
}

void Scheduler::check_not_running(const char* what) const {
  if (running_.load(std::memory_order_relaxed))
    throw Error(EBUSY, what, "(the scheduler is running; do it before the run)");
}

void Scheduler::cannot_start(const std::string& why) {
  log_error(why);
  const std::lock_guard lock(mutex_);
  if (start_problem_.empty()) start_problem_ = why;
}

std::string Scheduler::start_problem() const {
  const std::lock_guard lock(mutex_);
  return start_problem_;
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
  if (started_)
    throw Error(EBUSY, "add node", "(tick_once() has started the nodes; add it before, or close() first)");
  if (node == nullptr) throw Error(EINVAL, "add node", "(a null pointer)");
  auto record = std::make_unique<NodeRecord>(std::move(node), nodes_.size());
  if (record->node->explicitly_named_) {
    check_name(*record, record->node->name_);
    record->set_name(record->node->name_);
  } else {
    record->set_name(snake_case_of(*record->node));
  }
  const std::lock_guard lock(mutex_);
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
  check_not_running("tick_rate");
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
  start_problem_.clear();
  detail::check_settings(config_).or_throw();
  settle_names();
  for (const auto& [name, overrides] : config_.nodes) {
    if (find_node(name) != nullptr) continue;
    std::vector<std::string> known;
    std::string names;
    for (const auto& record : nodes_) {
      known.push_back(record->node_name());
      names += (names.empty() ? "" : ", ") + record->node_name();
    }
    const std::string near = config::nearest(name, known);
    throw Error(EINVAL, "configure",
                fmt::format("node \"{}\" ({}there are: {}){}", name,
                            near.empty() ? "" : fmt::format("did you mean \"{}\"? ", near), names,
                            overrides.source.empty() ? "" : ", configured in " + overrides.source));
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
    record->node->keeps_in_emergency_ = record->settings.keep_in_emergency;
    record->prepare(*on, config_);
    on->nodes.push_back(record.get());
  }
  for (auto& executor : executors_) {
    executor->take_nodes();
    executor->timeline.reserve(config_.timeline_events);
  }
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

Task<int> Scheduler::run_limited(Duration limit, bool own_signals) {
  if (limit < Duration::zero()) {
    log_error(fmt::format("run for {} s: a time below 0 (give 0 or more; run() has no limit)",
                          static_cast<double>(limit.count()) / 1e9));
    co_return 1;
  }
  io::Reactor& reactor = *io::Reactor::current();
  const bool real_time = reactor.system().has_threads();
  try {
    if (!started_) settle(real_time);
  } catch (const Error& error) {
    cannot_start(error.message());
    co_return 1;
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
  ended_.store(false, std::memory_order_relaxed);
  signals_read_.store(0, std::memory_order_relaxed);
  failed_ = end_was_late_ = false;
  Executor& main = *main_;
  const Attached attached(*this);
  const std::int64_t end_ns = limit == Duration::max() ? kNever : saturating_add(now_ns(), limit.count());
  RunEnd end(*this, own_signals);
  if (real_time) {
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
  if (real_time && config_.safe_states_on_crash) crash.emplace(monitor_->hooks());
  Scope beside("watchdog");
  if (!real_time) static_cast<void>(beside.spawn(watch_ladders()));
  // A service manager, where there is one.
  std::optional<ServiceNotifier> service;
  if (own_signals && real_time) service.emplace();
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
  if (!io::System::here().has_threads()) return;
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

// --- From anywhere ----------------------------------------------------------------------------------------------------

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
  detail::NodeHost* host = nullptr;
  {
    const std::lock_guard lock(mutex_);
    host = (*record)->host;
    if (host == nullptr) {
      work(**record);
      return {};
    }
  }
  if (host->is_here()) {
    work(**record);
    return {};
  }
  std::function<void()> command = [work = std::move(work), record = *record] { work(*record); };
  if (host->tell(std::move(command))) return {};
  return Error(
      EBUSY, what,
      fmt::format("node \"{}\" (its loop has not taken the last 1024 commands: a tick blocks it)", name));
}

Result<> Scheduler::pause(std::string_view node) {
  return control("pause", node, [](NodeRecord& record) { record.pause(true); });
}
Result<> Scheduler::resume(std::string_view node) {
  return control("resume", node, [](NodeRecord& record) { record.pause(false); });
}
Result<> Scheduler::restart(std::string_view node) {
  return control("restart", node, [](NodeRecord& record) {
    if (record.host != nullptr && record.host->is_here()) record.host->restart(record, true);
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
  if (enabled) {
    if (auto sound = check_watchdog(**record, timeout); !sound) return sound;
  }
  return control("set_node_watchdog", node, [enabled, timeout](NodeRecord& of) {
    of.settings.watchdog_enabled = enabled;
    of.settings.watchdog = timeout;
    of.settings_changed();
    if (of.host != nullptr) of.host->watch_now();
  });
}

}  // namespace horus
