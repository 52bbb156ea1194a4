// SPDX-License-Identifier: Apache-2.0
// Scheduler for Python. It runs on the thread that calls run(), which gives the GIL away meanwhile; the other calls are
// as free of threads as those of horus::Scheduler.
#include <horus/sched/scheduler.hpp>

#include <optional>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/poll.hpp>
#include <horus/py/asyncio.hpp>
#include <horus/py/sched/run.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/shield.hpp>

#include <pybind11/stl.h>

namespace horus::python {
namespace {

struct NodeOptions {
  std::optional<double> rate, deadline_ms, budget_ms, watchdog_ms;
  std::optional<double> restart_delay_ms, restart_longest_delay_ms, restart_within_ms;
  std::optional<std::uint32_t> max_restarts;
  std::optional<bool> restart_for_ever;
  std::optional<int> priority;
  std::optional<std::string> on_miss, on_budget, overrun;
  std::optional<bool> critical, circuit_breaker, auto_restart, keep_in_emergency, logging;
};

// One scheduler at a time per thread, as it has one reactor.
thread_local bool runs_here = false;

struct RunsHere {
  RunsHere() {
    if (runs_here)
      throw std::runtime_error(
          "a scheduler runs on this thread already; start this one on a thread of its own");
    runs_here = true;
  }
  RunsHere(const RunsHere&) = delete;
  RunsHere& operator=(const RunsHere&) = delete;
  ~RunsHere() { runs_here = false; }
};

struct SafeStates {
  explicit SafeStates(Run& run) : run_(run) { run_.start_safe_state_thread(); }
  SafeStates(const SafeStates&) = delete;
  SafeStates& operator=(const SafeStates&) = delete;
  ~SafeStates() { run_.stop_safe_state_thread(); }

 private:
  Run& run_;
};

class CoreScheduler {
 public:
  explicit CoreScheduler(const SchedulerConfig& config) : scheduler_(std::make_unique<Scheduler>(config)) {
    run_ = std::make_unique<Run>(*scheduler_);
  }
  CoreScheduler(const CoreScheduler&) = delete;
  CoreScheduler& operator=(const CoreScheduler&) = delete;
  ~CoreScheduler();

  // --- Building; with the GIL
  std::size_t add(const py::object& node, const std::string& name, bool is_async, const NodeOptions& options);
  /// `given`: what the program says; a configuration file wins.
  [[nodiscard]] bool keeps_in_emergency(const std::string& node, bool given) const;
  void rename(std::size_t index, const std::string& name) { builders_.at(index).name(name); }

  // --- Running; each gives (code, exception or None)
  py::tuple run(std::optional<double> seconds, int signals_fd, const py::object& on_signal);
  py::tuple tick_once();
  /// Shuts down what tick_once() has started.
  py::tuple close();

  // --- Inside asyncio's loop
  /// The whole run as an awaitable of the running loop; finish_run() gives its result.
  py::object run_in_loop(std::optional<double> seconds);
  /// Before it; finish_run() must follow. Throws when the scheduler is running already.
  void begin_run();
  py::tuple finish_run();

  /// Whether close() has something to do, on this thread.
  [[nodiscard]] bool started_here() const {
    return !busy_ && started_on_ && *started_on_ == std::this_thread::get_id();
  }

  // --- Any thread
  [[nodiscard]] Scheduler& scheduler() const noexcept { return *scheduler_; }

  void check_building(const char* what) const;

 private:
  class Busy;
  NodeBuilder make(const py::object& node, const std::string& name, bool is_async);
  py::tuple result(int code) {
    return py::make_tuple(code, run_->take_exception(code), in_pythons_words(scheduler_->start_problem()));
  }
  Task<int> main(Duration limit, int signals_fd);
  Task<> keep_code(Duration limit, std::shared_ptr<py::object> self);
  void claim();
  void set_restart(NodeBuilder& builder, const NodeOptions& options) const;
  void check_watchdog(bool is_plain, const NodeOptions& options) const;
  Task<> hear_signals(int fd);
  void take_signals();
  int run_here(Duration limit, int signals_fd);
  void check_thread() const;
  static Duration limit_of(std::optional<double> seconds) {
    return seconds ? from_ms(*seconds * 1e3) : Duration::max();
  }

  std::vector<py::object> cpp_nodes_;  // Python's, which the scheduler borrows
  std::unique_ptr<Run> run_;           // its nodes leave it when the scheduler ends
  std::unique_ptr<Scheduler> scheduler_;
  std::vector<NodeBuilder> builders_;
  py::object on_signal_ = py::none();
  std::optional<std::thread::id> started_on_;  // by tick_once(), and not shut down since
  bool busy_ = false;  // run(), tick_once(), close(), or a run in asyncio's loop; with the GIL
  int code_ = 1;       // of a run in asyncio's loop
};

CoreScheduler::~CoreScheduler() {
  // Reactors die on their threads; what was left started elsewhere cannot be ended from here.
  const bool elsewhere = started_on_ && *started_on_ != std::this_thread::get_id();
  run_->forget_nodes();
  if (elsewhere || busy_) {
    log_error(busy_ ? "a Scheduler was dropped while it ran: its event loop ended before run_async() did"
                    : "a Scheduler was dropped while its nodes were started: close() it on the thread of "
                      "tick_once()");
    static_cast<void>(scheduler_.release());
    static_cast<void>(run_.release());
    for (py::object& node : cpp_nodes_) static_cast<void>(node.release());
  }
}

// One at a time, whichever threads ask; a refused one leaves the other alone.
class CoreScheduler::Busy {
 public:
  explicit Busy(CoreScheduler& core) : core_(core) { core_.claim(); }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;
  ~Busy() { core_.busy_ = false; }

 private:
  CoreScheduler& core_;
};

void CoreScheduler::claim() {
  if (busy_) throw std::runtime_error("this scheduler is running already; stop() it first, or make another");
  check_thread();
  busy_ = true;
}

void CoreScheduler::check_building(const char* what) const {
  if (busy_ || started_on_) {
    throw std::runtime_error(std::string(what) +
                             (busy_ ? " while the scheduler is running: do it before the run"
                                    : " after tick_once() has started the nodes: do it "
                                      "before, or close() first"));
  }
}

void CoreScheduler::check_watchdog(bool is_plain, const NodeOptions& options) const {
  const double hz = options.rate.value_or(is_plain ? scheduler_->config().tick_rate.hz : 0);
  if (!options.watchdog_ms || hz <= 0 || *options.watchdog_ms * hz >= 3000) return;
  throw std::invalid_argument(
      fmt::format("watchdog_ms is {:g}, shorter than 3 periods of {:g} Hz: set at least {:g}",
                  *options.watchdog_ms, hz, 3000 / hz));
}

NodeBuilder CoreScheduler::make(const py::object& node, const std::string& name, bool is_async) {
  if (!py::isinstance<NodeBase>(node)) {
    return is_async ? scheduler_->add(std::make_unique<AsyncNode>(name, node, *run_))
                    : scheduler_->add(std::make_unique<SyncNode>(name, node, *run_));
  }
  cpp_nodes_.push_back(node);
  const std::shared_ptr<NodeBase> borrowed(node.cast<NodeBase*>(), [](NodeBase*) {});
  return scheduler_->add(borrowed).name(name);
}

// Each rule by itself; what is not said is the scheduler's.
void CoreScheduler::set_restart(NodeBuilder& builder, const NodeOptions& options) const {
  if (!options.restart_delay_ms && !options.restart_longest_delay_ms && !options.restart_within_ms &&
      !options.max_restarts && !options.restart_for_ever)
    return;
  RestartConfig rules = scheduler_->config().restart;
  if (options.restart_delay_ms) rules.first_delay = from_ms(*options.restart_delay_ms);
  if (options.restart_longest_delay_ms) rules.longest_delay = from_ms(*options.restart_longest_delay_ms);
  if (options.restart_within_ms) rules.within = from_ms(*options.restart_within_ms);
  if (options.max_restarts) rules.most = *options.max_restarts;
  if (options.restart_for_ever) rules.for_ever = *options.restart_for_ever;
  builder.restart(rules);
}

bool CoreScheduler::keeps_in_emergency(const std::string& node, bool given) const {
  const auto& configured = scheduler_->config().nodes;
  const auto found = configured.find(node);
  return found == configured.end() ? given : found->second.keep_in_emergency.value_or(given);
}

std::size_t CoreScheduler::add(const py::object& node, const std::string& name, bool is_async,
                               const NodeOptions& options) {
  // Everything that can be refused is refused first: what the scheduler has taken stays.
  check_building("add()");
  const bool is_plain = !is_async && !py::isinstance<Node>(node);
  check_watchdog(is_plain, options);
  const auto on_miss = parse("on_miss", options.on_miss.value_or("warn"), Miss::stop);
  const auto on_budget = parse("on_budget", options.on_budget.value_or("warn"), Miss::stop);
  const auto overrun = parse("overrun", options.overrun.value_or("skip"), Overrun::cancel);
  NodeBuilder builder = make(node, name, is_async);
  builders_.push_back(builder);
  builder.on_miss(on_miss).on_budget(on_budget).overrun(overrun);
  if (options.rate) builder.rate(Rate(*options.rate));
  if (options.priority) builder.priority(*options.priority);
  if (options.deadline_ms) builder.deadline(from_ms(*options.deadline_ms));
  if (options.budget_ms) builder.budget(from_ms(*options.budget_ms));
  if (options.watchdog_ms) builder.watchdog(from_ms(*options.watchdog_ms));
  if (options.critical) builder.critical(*options.critical);
  if (options.circuit_breaker) builder.circuit_breaker(*options.circuit_breaker);
  set_restart(builder, options);
  if (options.auto_restart) builder.auto_restart(*options.auto_restart);
  if (options.keep_in_emergency) builder.keep_in_emergency(*options.keep_in_emergency);
  if (options.logging) builder.logging(*options.logging);
  return builders_.size() - 1;
}

void CoreScheduler::check_thread() const {
  if (started_on_ && *started_on_ != std::this_thread::get_id())
    throw std::runtime_error("tick_once() has started the nodes on another thread; go on there");
}

// --- Running ----------------------------------------------------------------------------------------------------------

// Python's own handlers run when Python code runs; its C handler writes to this descriptor, so that a sleeping loop hears.
Task<> CoreScheduler::hear_signals(int fd) {
  while (true) {
    auto readable = co_await io::wait_readable(fd);
    if (!readable) co_return;
    take_signals();
  }
}

void CoreScheduler::take_signals() {
  const py::gil_scoped_acquire gil;
  try {
    on_signal_();
  } catch (py::error_already_set& error) {
    run_->interrupt(error.value());
  }
}

Task<> end_signals(Scope& signals) {
  signals.cancel();
  co_await signals.join();
}

Task<int> CoreScheduler::main(Duration limit, int signals_fd) {
  Scope signals("Python's signals");
  if (signals_fd >= 0) static_cast<void>(signals.spawn(hear_signals(signals_fd)));
  int code = 1;
  std::exception_ptr failure;
  try {
    auto running = scheduler_->run_main(limit, false);
    code = co_await running;
  } catch (...) {
    failure = std::current_exception();
  }
  auto ending = end_signals(signals);
  co_await shield(std::move(ending));
  if (failure) std::rethrow_exception(failure);
  co_return code;
}

int CoreScheduler::run_here(Duration limit, int signals_fd) {
  std::optional<io::Reactor> reactor;
  io::Reactor* current = io::Reactor::current();  // that of an earlier tick_once()
  if (current == nullptr) current = &reactor.emplace(scheduler_->config().reactor);
  const SafeStates safe_states(*run_);
  const int code = current->run(main(limit, signals_fd), "scheduler");
  scheduler_->close();  // the reactor of tick_once() ends on this thread
  return code;
}

py::tuple CoreScheduler::run(std::optional<double> seconds, int signals_fd, const py::object& on_signal) {
  const RunsHere here;
  const Busy busy(*this);
  on_signal_ = on_signal;
  int code = 0;
  {
    const py::gil_scoped_release away;
    code = run_here(limit_of(seconds), signals_fd);
  }
  started_on_.reset();
  on_signal_ = py::none();
  return result(code);
}

py::tuple CoreScheduler::tick_once() {
  const RunsHere here;
  const Busy busy(*this);
  int code = 0;
  {
    const py::gil_scoped_release away;
    code = scheduler_->tick_once();
  }
  started_on_.reset();
  if (code == 0) started_on_ = std::this_thread::get_id();
  return result(code);
}

py::tuple CoreScheduler::close() {
  if (!started_on_) return result(0);
  const RunsHere here;
  const Busy busy(*this);
  {
    const py::gil_scoped_release away;
    const SafeStates safe_states(*run_);
    scheduler_->close();
  }
  started_on_.reset();
  return result(0);
}

// --- Inside asyncio's loop --------------------------------------------------------------------------------------------

void CoreScheduler::begin_run() {
  claim();
  code_ = 1;
}

py::object CoreScheduler::run_in_loop(std::optional<double> seconds) {
  run_->start_safe_state_thread();
  // The run keeps its scheduler: an event loop may drop the coroutine that awaits it.
  std::shared_ptr<py::object> self(new py::object(py::cast(this)), [](const py::object* object) {
    const py::gil_scoped_acquire gil;
    delete object;
  });
  return horus::py::awaitable(keep_code(limit_of(seconds), std::move(self)));
}

Task<> CoreScheduler::keep_code(Duration limit, std::shared_ptr<py::object> /*self*/) {
  auto running = main(limit, -1);
  code_ = co_await running;
}

py::tuple CoreScheduler::finish_run() {
  {
    const py::gil_scoped_release away;
    run_->stop_safe_state_thread();
  }
  busy_ = false;
  return result(std::exchange(code_, 1));
}

template <class... Arguments>
auto controls(Result<> (Scheduler::*control)(Arguments...)) {
  return [control](CoreScheduler& self, Arguments... arguments) {
    const py::gil_scoped_release away;  // it may wait for the loop, whose ticks need the GIL
    (self.scheduler().*control)(arguments...).or_throw();
  };
}

}  // namespace

void bind_scheduler(py::module_& module) {
  using Core = CoreScheduler;
  // What users' own modules derive from: horus/py/node.hpp.
  py::class_<NodeBase>(module, "NodeBase").def_property_readonly("cpp_name", &NodeBase::name);
  const py::class_<Node, NodeBase> node(module, "Node");
  const py::class_<PlainNode, NodeBase> plain_node(module, "PlainNode");
  py::class_<Core>(module, "Scheduler")
      .def(py::init<const SchedulerConfig&>())
      .def(
          "add",
          [](Core& self, const py::object& node, const std::string& name, bool is_async,
             std::optional<double> rate, std::optional<int> priority, std::optional<double> deadline_ms,
             std::optional<double> budget_ms, std::optional<double> watchdog_ms,
             std::optional<std::string> on_miss, std::optional<std::string> on_budget,
             std::optional<std::string> overrun, std::optional<bool> critical,
             std::optional<bool> circuit_breaker, std::optional<bool> auto_restart,
             std::optional<double> restart_delay_ms, std::optional<double> restart_longest_delay_ms,
             std::optional<double> restart_within_ms, std::optional<std::uint32_t> max_restarts,
             std::optional<bool> restart_for_ever, std::optional<bool> keep_in_emergency,
             std::optional<bool> logging) {
            NodeOptions options;
            options.rate = rate;
            options.priority = priority;
            options.deadline_ms = deadline_ms;
            options.budget_ms = budget_ms;
            options.watchdog_ms = watchdog_ms;
            options.on_miss = std::move(on_miss);
            options.on_budget = std::move(on_budget);
            options.overrun = std::move(overrun);
            options.critical = critical;
            options.circuit_breaker = circuit_breaker;
            options.auto_restart = auto_restart;
            options.restart_delay_ms = restart_delay_ms;
            options.restart_longest_delay_ms = restart_longest_delay_ms;
            options.restart_within_ms = restart_within_ms;
            options.max_restarts = max_restarts;
            options.restart_for_ever = restart_for_ever;
            options.keep_in_emergency = keep_in_emergency;
            options.logging = logging;
            return self.add(node, name, is_async, options);
          },
          py::arg("node"), py::arg("name"), py::arg("is_async"), py::kw_only(), py::arg("rate"),
          py::arg("priority"), py::arg("deadline_ms"), py::arg("budget_ms"), py::arg("watchdog_ms"),
          py::arg("on_miss"), py::arg("on_budget"), py::arg("overrun"), py::arg("critical"),
          py::arg("circuit_breaker"), py::arg("auto_restart"), py::arg("restart_delay_ms"),
          py::arg("restart_longest_delay_ms"), py::arg("restart_within_ms"), py::arg("max_restarts"),
          py::arg("restart_for_ever"), py::arg("keep_in_emergency"), py::arg("logging"))
      .def("rename", &Core::rename)
      .def("keeps_in_emergency", &Core::keeps_in_emergency)
      .def("use_hub", [](Core& self, const py::object& hub) { self.scheduler().use_hub(hub_behind(hub)); })
      .def("connect", [](Core& self, const std::string& from, const std::string& out, const std::string& to,
                         const std::string& in) { self.scheduler().connect(from, out, to, in); })
      .def("record",
           [](Core& self, std::string path, std::vector<std::string> topics,
              std::vector<std::string> left_out, bool compressed, std::size_t max_waiting_bytes) {
             self.scheduler().record(std::move(path), record_options(std::move(topics), std::move(left_out),
                                                                     compressed, max_waiting_bytes));
           })
      .def("run", &Core::run)
      .def("tick_once", &Core::tick_once)
      .def("close", &Core::close)
      .def("begin_run", &Core::begin_run)
      .def("started_here", &Core::started_here)
      .def("run_in_loop", &Core::run_in_loop)
      .def("check_building", &Core::check_building)
      .def("finish_run", &Core::finish_run)
      .def("stop", [](Core& self) { self.scheduler().stop(); })
      .def("emergency_stop", [](Core& self) { self.scheduler().emergency_stop(); })
      .def("reset_emergency_stop", [](Core& self) { self.scheduler().reset_emergency_stop(); })
      .def("emergency_stopped", [](Core& self) { return self.scheduler().emergency_stopped(); })
      .def("is_isolated",
           [](Core& self, const std::string& node) { return self.scheduler().is_isolated(node); })
      .def("pause", controls(&Scheduler::pause))
      .def("resume", controls(&Scheduler::resume))
      .def("restart", controls(&Scheduler::restart))
      .def("open_circuit", controls(&Scheduler::open_circuit))
      .def("reset_circuit", controls(&Scheduler::reset_circuit))
      .def("set_node_deadline",
           [](Core& self, const std::string& node, double ms) {
             const py::gil_scoped_release away;
             self.scheduler().set_node_deadline(node, from_ms(ms)).or_throw();
           })
      .def("set_node_watchdog",
           [](Core& self, const std::string& node, bool enabled, double ms) {
             const py::gil_scoped_release away;
             self.scheduler().set_node_watchdog(node, enabled, from_ms(ms)).or_throw();
           })
      .def("node_list", [](Core& self) { return self.scheduler().node_list(); })
      .def("statistics",
           [](Core& self, const std::string& name) -> py::object {
             std::optional<NodeStatistics> node;
             {
               const py::gil_scoped_release away;
               node = self.scheduler().statistics(name);
             }
             if (!node) return py::none();
             return to_dict(*node);
           })
      .def("status",
           [](Core& self) {
             const py::gil_scoped_release away;
             return self.scheduler().status();
           })
      .def("all_statistics", [](Core& self) {
        std::vector<NodeStatistics> nodes;
        {
          const py::gil_scoped_release away;
          nodes = self.scheduler().statistics();
        }
        py::list list;
        for (const NodeStatistics& node : nodes) list.append(to_dict(node));
        return list;
      });
}

}  // namespace horus::python
