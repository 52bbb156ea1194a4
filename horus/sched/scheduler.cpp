// SPDX-License-Identifier: Apache-2.0
// A run from beginning to end: start the nodes, release them until somebody says stop, shut them down.
#include <horus/sched/scheduler.hpp>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <typeinfo>

#include <cxxabi.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/node_record.hpp>
#include <horus/task/shield.hpp>
#include <horus/task/when_any.hpp>

namespace horus {

using detail::NodeRecord;

namespace {

constexpr int kExitStuck = 75;  // EX_TEMPFAIL: a supervisor should start us again
constexpr Duration kStopLimit =
    std::chrono::milliseconds(4900);  // everything after the stop request, and then
constexpr Duration kLastMoment =
    std::chrono::milliseconds(100);  // for what a blocked loop had kept from running
constexpr Duration kFirstRetry = std::chrono::milliseconds(10);
constexpr Duration kLastRetry = std::chrono::seconds(1);  // between ticks of a failing event-driven node
constexpr int kUnsuspendedTicks = 1000;                   // in a row, then one warning

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

bool by_priority(const NodeRecord* a, const NodeRecord* b) {
  return a->priority != b->priority ? a->priority < b->priority : a->index < b->index;
}
bool later(const NodeRecord* a, const NodeRecord* b) { return a->next_release() > b->next_release(); }

}  // namespace

// --- Building ---------------------------------------------------------------------------------------------------------

NodeBuilder& NodeBuilder::rate(Rate rate) {
  if (!(rate.hz > 0 && rate.hz <= 100'000)) {
    throw Error(EINVAL, "rate",
                fmt::format("{} Hz of node \"{}\": above 0 up to 100000", rate.hz, record_.node_name()));
  }
  record_.rate = rate;
  return *this;
}
NodeBuilder& NodeBuilder::priority(int priority) {
  record_.priority = priority;
  return *this;
}
NodeBuilder& NodeBuilder::name(std::string name) {
  scheduler_.check_name(record_, name);
  record_.node->explicitly_named_ = true;
  record_.node->name_ = std::move(name);
  record_.set_name(record_.node->name_);
  return *this;
}
NodeBase& NodeBuilder::node() const noexcept { return *record_.node; }

Scheduler::Scheduler(SchedulerConfig config) : config_(std::move(config)) {
  config_.reactor.timer_spin = std::max(config_.reactor.timer_spin, config_.spin);
}

Scheduler::~Scheduler() {
  HORUS_ASSERT(reactor_ == nullptr, "a Scheduler died while it ran; stop() it and let run_async() end first");
  if (started_ && own_reactor_) own_reactor_->run(stop_nodes(), "scheduler");
  nodes_.clear();  // before the reactor: what nodes hold is closed through it
}

void Scheduler::check_not_running(const char* what) const {
  if (reactor_ != nullptr) throw Error(EBUSY, what, "(the scheduler is running; do it before the run)");
}

void Scheduler::check_name(const NodeRecord& record, const std::string& name) const {
  if (name.empty()) throw Error(EINVAL, "add node", "(its name is empty)");
  for (const auto& other : nodes_) {
    if (other.get() != &record && other->node->explicitly_named_ && other->node_name() == name) {
      throw Error(EEXIST, "add node", fmt::format("\"{}\" (give one of the two another name)", name));
    }
  }
}

NodeBuilder Scheduler::adopt(std::unique_ptr<NodeBase> node) {
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
    record->node->name_ = name;
    record->set_name(name);
  }
}

Scheduler& Scheduler::tick_rate(Rate rate) {
  if (!(rate.hz > 0 && rate.hz <= 100'000)) {
    throw Error(EINVAL, "tick_rate", fmt::format("{} Hz: above 0 up to 100000", rate.hz));
  }
  config_.tick_rate = rate;
  return *this;
}

// --- Starting and stopping nodes --------------------------------------------------------------------------------------

Task<bool> Scheduler::start_nodes() {
  settle_names();
  for (auto& record : nodes_) {
    if (record->plain_node != nullptr && !record->periodic()) record->rate = config_.tick_rate;
    record->statistics.priority = record->priority;
    record->statistics.rate_hz = record->rate.hz;
  }
  started_ = true;
  try {
    // A port that an earlier run opened is stale, and must not meet a fresh one.
    for (auto& record : nodes_) {
      for (const auto& port : record->node->ports_) {
        if (const auto stale = port.port.lock()) stale->close();
      }
    }
    for (auto& record : nodes_) {
      record->node->scheduler_ = this;
      for (const auto& port : record->node->ports_) open_port(*record->node, port);
    }
  } catch (const Error& error) {
    log_error(error.message());
    co_return false;
  }
  for (auto& record : nodes_) {
    record->statistics.state = NodeState::initialising;
    std::exception_ptr failure;
    try {
      if (record->plain_node != nullptr) {
        record->plain_node->init();
      } else {
        auto init = record->coroutine_node->init();
        co_await init;
      }
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) {
      record->statistics.state = NodeState::failed;
      if (detail::is_cancellation(failure)) co_return false;
      std::string line;
      detail::describe_failure(failure, line);
      record->statistics.last_error = line;
      log_error(fmt::format("{}: init failed: {}", record->node_name(), line));
      co_return false;
    }
    record->statistics.state = NodeState::running;
  }
  try {
    check_connections();
  } catch (const Error& error) {
    log_error(error.message());
    co_return false;
  }
  co_return true;
}

namespace {

Task<> wait_for_end(NodeRecord& record) { co_await record.ended.wait(); }

Task<> shut_down(NodeRecord& record) {
  if (record.plain_node != nullptr) {
    record.plain_node->shutdown();
  } else {
    auto shutdown = record.coroutine_node->shutdown();
    co_await shutdown;
  }
}

Task<> join_scope(Scope& scope) {
  scope.cancel();
  co_await scope.join();
  scope.reset();
}

}  // namespace

// Ticks of periodic nodes get time to finish; an event-driven one waits for input that may never come, so it is asked
// to stop at once. Then the background work, then shutdown() in reverse order.
Task<> Scheduler::stop_nodes() {
  if (!started_) co_return;
  const std::int64_t finish_by = saturating_add(now_ns(), config_.finish_limit.count());
  for (auto& record : nodes_) {
    if (record->in_flight() && !record->periodic()) record->request_stop();
  }
  for (auto& record : nodes_) {
    if (!record->in_flight()) continue;
    if (record->periodic()) {
      auto wait = wait_for_end(*record);
      auto finished =
          co_await with_timeout(Duration(std::max<std::int64_t>(finish_by - now_ns(), 0)), std::move(wait));
      if (!finished) record->request_stop();
    }
    co_await record->ended.wait();
  }
  for (auto position = nodes_.rbegin(); position != nodes_.rend(); ++position) {
    NodeRecord& record = **position;
    record.forget_tick();
    const bool was_running = record.statistics.state == NodeState::running;
    std::exception_ptr failure;
    try {
      co_await join_scope(record.node->scope_);
      if (was_running) {
        record.statistics.state = NodeState::stopping;
        auto shutdown = shut_down(record);
        auto done = co_await with_timeout(config_.shutdown_limit, std::move(shutdown));
        std::move(done).or_throw();
      }
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure) {
      std::string line;
      detail::describe_failure(failure, line);
      log_error(fmt::format("{}: shutdown failed: {}", record.node_name(), line));
    }
    if (was_running) record.statistics.state = NodeState::stopped;
    record.node->scheduler_ = nullptr;
  }
  started_ = false;
}

// --- Releasing --------------------------------------------------------------------------------------------------------

void Scheduler::release_due(std::int64_t now) {
  due_.clear();
  while (!releases_.empty() && releases_.front()->next_release() <= now) {
    std::pop_heap(releases_.begin(), releases_.end(), later);
    due_.push_back(releases_.back());
    releases_.pop_back();
  }
  std::sort(due_.begin(), due_.end(), by_priority);
  for (NodeRecord* record : due_) {
    const std::int64_t grid_point = record->advance_grid(now);
    if (record->in_flight()) {
      ++record->statistics.grid_points;
      ++record->statistics.skipped_in_flight;
    } else {
      now = record->release(grid_point, now);
    }
    releases_.push_back(record);
    std::push_heap(releases_.begin(), releases_.end(), later);
  }
}

Task<> Scheduler::release_loop() {
  const std::int64_t start = now_ns();
  for (auto& record : nodes_) {
    if (!record->periodic()) continue;
    record->start_grid(start);
    releases_.push_back(record.get());
  }
  std::make_heap(releases_.begin(), releases_.end(), later);
  while (!releases_.empty()) {
    // Also when it has come already: an overloaded loop must still see its timers, its completions and a stop.
    co_await sleep_until(TimePoint(Duration(releases_.front()->next_release())));
    release_due(now_ns());
    co_await yield();
  }
}

namespace {

// An event-driven node: again as soon as it has ended, through the ready list. One that fails is tried again after a
// pause that doubles up to a second, or a dead peer would keep the processor busy.
Task<> event_loop(NodeRecord& record) {
  Duration retry = kFirstRetry;
  int unsuspended = 0;
  while (true) {
    const std::int64_t now = now_ns();
    record.release(now, now);
    if (record.in_flight()) {
      unsuspended = 0;
      co_await record.ended.wait();
    } else {
      if (++unsuspended == kUnsuspendedTicks) {
        log_warning(
            fmt::format("{}: {} ticks in a row awaited nothing; give the node a rate, or await its input",
                        record.node_name(), kUnsuspendedTicks));
      }
      co_await sleep(Duration::zero());  // rather than a yield: the loop turns, and a stop is heard
    }
    if (record.last_tick_failed()) {
      co_await sleep(retry);
      retry = std::min(retry * 2, kLastRetry);
    } else {
      retry = kFirstRetry;
    }
  }
}

Task<int> wait_for(Event& event) {
  co_await event.wait();
  co_return 0;
}

}  // namespace

Task<> Scheduler::release_all_once() {
  const std::int64_t now = now_ns();
  std::vector<NodeRecord*> order;
  order.reserve(nodes_.size());
  for (auto& record : nodes_) order.push_back(record.get());
  std::sort(order.begin(), order.end(), by_priority);
  for (NodeRecord* record : order) record->release(now, now_ns());
  for (NodeRecord* record : order) co_await record->ended.wait();
}

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

}  // namespace

// --- Running ----------------------------------------------------------------------------------------------------------

Task<int> Scheduler::run_async() { return run_limited(Duration::max(), false); }

Task<int> Scheduler::run_main(Duration limit) {
  apply_thread_settings();
  return run_limited(limit, true);
}

Task<int> Scheduler::run_limited(Duration limit, bool own_signals) {
  check_not_running("run");
  {
    const std::lock_guard lock(mutex_);
    reactor_ = io::Reactor::current();
    if (stop_requested_.load(std::memory_order_relaxed)) stop_event_->set();
  }
  Scope scope("scheduler");
  Scope signals("signals");  // watched to the very end: a second one must still be heard
  if (own_signals) static_cast<void>(signals.spawn(watch_signals()));
  int code = 0;
  bool ready = started_;
  if (!ready) {
    auto starting = start_nodes();
    auto stopping = wait_for(*stop_event_);
    auto race = co_await when_any(std::move(starting), std::move(stopping));
    const auto& outcome = std::get<0>(race.outcomes);
    ready = outcome.value.value_or(false) && race.index == 0;
    if (!ready && race.index == 0) code = 1;
  }
  if (ready) {
    for (auto& record : nodes_) {
      if (!record->periodic())
        static_cast<void>(scope.spawn(event_loop(*record), record->node_name() + " loop"));
    }
    // Last: the grid begins when every event-driven node has started its first tick.
    static_cast<void>(scope.spawn(release_loop(), "releases"));
    try {
      if (limit == Duration::max()) {
        co_await stop_event_->wait();
      } else {
        auto stopping = wait_for(*stop_event_);
        static_cast<void>(co_await with_timeout(limit, std::move(stopping)));
      }
    } catch (const Error&) {
      // The task that runs us was asked to stop: the same as stop().
    }
  }
  // Whoever asked, from here on nobody can cut the shutdown short but its own limits.
  StuckTimer stuck;
  if (own_signals) reactor_->timers().insert(stuck, saturating_add(now_ns(), kStopLimit.count()));
  auto joining = join_scope(scope);
  co_await shield(std::move(joining));
  auto stopping_nodes = stop_nodes();
  co_await shield(std::move(stopping_nodes));
  if (own_signals) reactor_->timers().cancel(stuck);
  auto joining_signals = join_scope(signals);
  co_await shield(std::move(joining_signals));
  releases_.clear();
  {
    const std::lock_guard lock(mutex_);
    reactor_ = nullptr;
    stop_requested_.store(false, std::memory_order_relaxed);
    stop_event_ = std::make_shared<Event>();
  }
  co_return code;
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
  for (auto& record : nodes_) record->node->enter_safe_state();
  reactor_->backend().exit_now(128 + second->number);
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
  if (config_.fifo_priority > 0) {
    sched_param parameter{};
    parameter.sched_priority = config_.fifo_priority;
    // Children and helper threads start as ordinary ones: a camera program must not starve the machine.
    if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) != 0) {
      log_warning("SCHED_FIFO was refused: " + describe_code(errno) +
                  " (needs CAP_SYS_NICE or a higher ulimit -r)");
    }
  }
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
  if (!started_ && !reactor->run(start_nodes(), "scheduler")) {
    reactor->run(stop_nodes(), "scheduler");
    return 1;
  }
  reactor->run(release_all_once(), "scheduler");
  return 0;
}

void Scheduler::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stop_requested_.store(true, std::memory_order_relaxed);
  if (reactor_ == nullptr) return;
  if (io::Reactor::current() == reactor_) {
    stop_event_->set();
    static_cast<void>(
        reactor_->post([] {}));  // inside another loop only a post makes it look; a full mailbox does too
    return;
  }
  // A full mailbox means a busy loop, which takes its posts soon. The run may have ended by then, hence the shared event.
  while (!reactor_->post([event = stop_event_] { event->set(); })) ::sched_yield();
}

// --- Questions --------------------------------------------------------------------------------------------------------

std::vector<std::string> Scheduler::node_list() const {
  std::vector<std::string> names;
  names.reserve(nodes_.size());
  for (const auto& record : nodes_) names.push_back(record->node_name());
  return names;
}

std::vector<NodeStatistics> Scheduler::collect() const {
  std::vector<NodeStatistics> all;
  all.reserve(nodes_.size());
  for (const auto& record : nodes_) all.push_back(record->statistics);
  return all;
}

std::vector<NodeStatistics> Scheduler::statistics() const {
  std::promise<std::vector<NodeStatistics>> answer;
  {
    const std::lock_guard lock(mutex_);
    if (reactor_ == nullptr || io::Reactor::current() == reactor_) return collect();
    while (!reactor_->post([this, &answer] { answer.set_value(collect()); })) ::sched_yield();
  }
  return answer.get_future().get();
}

std::optional<NodeStatistics> Scheduler::statistics(std::string_view name) const {
  for (NodeStatistics& node : statistics()) {
    if (node.name == name) return std::move(node);
  }
  return std::nullopt;
}

std::string Scheduler::status() const {
  std::string table =
      fmt::format("{:<20} {:>8} {:>4} {:<12} {:>10} {:>8} {:>8} {:>10} {:>10}\n", "node", "rate", "prio",
                  "state", "ticks", "failed", "skipped", "late p99", "exec p99");
  for (const NodeStatistics& node : statistics()) {
    const std::string rate = node.rate_hz == 0 ? "event" : fmt::format("{:g} Hz", node.rate_hz);
    table += fmt::format("{:<20} {:>8} {:>4} {:<12} {:>10} {:>8} {:>8} {:>7.1f} us {:>7.1f} us\n", node.name,
                         rate, node.priority, to_string(node.state), node.total_ticks, node.failed_ticks,
                         node.skipped_in_flight + node.skipped_late,
                         static_cast<double>(node.release_lateness.percentile(99)) / 1e3,
                         static_cast<double>(node.execution.percentile(99)) / 1e3);
  }
  return table;
}

}  // namespace horus
