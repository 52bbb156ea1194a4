// SPDX-License-Identifier: Apache-2.0
// The tick scheduler: releases nodes on their grids and keeps statistics of them. It owns its nodes. One thread runs
// it; any thread may call stop() and the queries.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/sched/statistics.hpp>
#include <horus/sched/timeline.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI {

class ServiceNotifier;

namespace detail {
class Executor;
class NodeRecord;
class RunEnd;
class SafetyMonitor;
struct Snapshot;
}  // namespace detail

/// Configures a node that was just added: `scheduler.add<Gps>().rate(10_hz).priority(1)`. Use it before the run.
class HORUS_API NodeBuilder {
 public:
  /// Ticks per second, above 0 up to 100 kHz. A coroutine node without a rate is event-driven.
  NodeBuilder& rate(Rate rate);
  /// Order of nodes released at the same instant: 0 to 1,000,000, 0 first; nodes of equal priority start in the order
  /// of addition. Default 100.
  NodeBuilder& priority(int priority);
  /// Errors: Error(EEXIST) when another node was given the same name explicitly.
  NodeBuilder& name(std::string name);
  /// The limit from the grid point to the end of the tick, up to 10 s; 0: none. on_miss() chooses the reaction to a
  /// miss.
  NodeBuilder& deadline(Duration deadline);
  /// The limit for the execution of one tick, up to 10 s; 0: none. on_budget() chooses the reaction to an overrun
  /// budget.
  NodeBuilder& budget(Duration budget);
  /// Default Miss::warn.
  NodeBuilder& on_miss(Miss reaction);
  /// Default Miss::warn; not Miss::cancel, which needs a suspension point.
  NodeBuilder& on_budget(Miss reaction);
  /// What happens to a grid point that comes while the previous tick is in flight. Default Overrun::skip.
  NodeBuilder& overrun(Overrun reaction);
  /// Longest time between two successful ticks: 10 ms to 60 s, and at least 3 periods.
  NodeBuilder& watchdog(Duration timeout = NodeSettings::kDefaultWatchdog);
  /// An expired watchdog, or a last restart that failed, trips the emergency stop.
  NodeBuilder& critical(bool critical = true);
  /// Marks a node that only observes (a logger, a view, a recorder): it keeps ticking and publishing during an
  /// emergency stop.
  NodeBuilder& keep_in_emergency(bool keep = true);
  /// Ticks that are cancelled by a deadline or an overrun count as failures.
  NodeBuilder& miss_is_failure(bool counts = true);
  NodeBuilder& circuit_breaker(bool enabled);
  /// Restarts the node after too many failures: shutdown(), a pause, a fresh init().
  NodeBuilder& auto_restart(bool enabled = true);
  /// The same with rules of its own: RestartConfig().for_ever for a device that is unplugged and comes back.
  NodeBuilder& restart(const RestartConfig& config);
  /// The thread that runs the node, described by Scheduler::executor or the configuration. Default: the scheduler's
  /// thread.
  NodeBuilder& executor(std::string name);
  /// Whether the log has lines about this node.
  NodeBuilder& logging(bool enabled);
  [[nodiscard]] NodeBase& node() const noexcept;

 private:
  friend class Scheduler;
  NodeBuilder(Scheduler& scheduler, detail::NodeRecord& record) noexcept
      : scheduler_(scheduler), record_(record) {}
  Scheduler& scheduler_;
  detail::NodeRecord& record_;
};

/// The sum of the declared budgets, per executor.
struct Schedulability {
  struct Share {
    std::string executor;
    double utilisation = 0;   ///< sum of budget / period
    double bound = 1;         ///< the utilisation up to which the policy can guarantee all deadlines
    std::size_t unknown = 0;  ///< periodic nodes without a budget
  };
  std::vector<Share> executors;
  bool schedulable = true;
  std::string problem;  ///< for a person; empty when there is none
};

/// How much Scheduler::report() shows.
enum class Detail : std::uint8_t { nodes, awaits };

/// Runs nodes: periodic nodes on an absolute grid, event-driven nodes again and again. All run on the scheduler's
/// thread, unless nodes name executors of their own.
///
/// Semantics: a tick that suspends delays no other node. Late work never shifts a grid and is never caught up in
/// bursts. Nodes released at the same instant start by priority, then in the order of addition; ready coroutines
/// resume before new ticks start.
/// Errors: configuration mistakes throw Error where they are made. `run` returns 0, or 1 when a node's init failed or
/// settings contradict each other (one line in the log).
/// Thread safety: build and run it on one thread. While it runs, a second run and all building calls fail with
/// Error(EBUSY), and the run goes on. Any thread, also while it runs: `stop`, `emergency_stop`, `pause`,
/// `resume`, `restart`, `set_node_deadline`, `set_node_watchdog`, the circuit's controls, and all queries.
/// Example:
/// ```
/// horus::Scheduler scheduler(horus::SchedulerConfig::standard());
/// scheduler.add<Gps>();
/// scheduler.add("control", [] { steer(); }).rate(100_hz).priority(0);
/// return scheduler.run();
/// ```
class HORUS_API Scheduler {
 public:
  explicit Scheduler(SchedulerConfig config = SchedulerConfig::standard());
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();

  /// Makes and adds a node: `add<Gps>(arguments…)`. Its name comes from its constructor, or from its class in
  /// snake_case.
  template <class N, class... Arguments>
    requires std::derived_from<N, NodeBase>
  NodeBuilder add(Arguments&&... arguments) {
    return adopt(std::make_unique<N>(std::forward<Arguments>(arguments)...));
  }
  /// Adds a node that was made elsewhere.
  template <class N>
    requires std::derived_from<N, NodeBase>
  NodeBuilder add(std::unique_ptr<N> node) {
    return adopt(std::move(node));
  }
  /// Adds a node that the caller shares. It must outlive the scheduler, and nothing else may use it meanwhile.
  template <class N>
    requires std::derived_from<N, NodeBase>
  NodeBuilder add(std::shared_ptr<N> node) {
    return adopt(std::move(node));
  }
  /// Adds a function as a node. A function that returns void or Result<> becomes a plain node; one that returns
  /// Task<> or Task<Result<>> becomes a coroutine node. A failed Result is a failed tick.
  template <class F>
    requires std::invocable<F&>
  NodeBuilder add(std::string name, F function) {
    using Gives = std::invoke_result_t<F&>;
    static_assert(
        detail::kTickGives<Gives>,
        "a node's function gives nothing, a Result<>, a Task<> or a Task<Result<>>: any other value would be "
        "lost, and a Task of it would never run; keep the value in a variable or publish it");
    if constexpr (!detail::kTickGives<Gives>) {
      return adopt(nullptr);  // said above, in one line
    } else if constexpr (std::is_void_v<Gives> || std::same_as<Gives, Result<>>) {
      return adopt(std::make_unique<detail::PlainLambdaNode<F>>(std::move(name), std::move(function)));
    } else {
      return adopt(std::make_unique<detail::LambdaNode<F>>(std::move(name), std::move(function)));
    }
  }

  /// A scheduler as a configuration file describes it. Errors: SchedulerConfig::from_file, thrown.
  static SchedulerConfig from_config(const std::string& path) {
    return SchedulerConfig::from_file(path).or_throw();
  }

  /// The rate of plain nodes that set none.
  Scheduler& tick_rate(Rate rate);
  /// Describes an executor, a thread of its own for the nodes that name it. In a simulated world and in tick_once(),
  /// everything runs on one thread all the same.
  Scheduler& executor(std::string name, ExecutorConfig config = {});
  /// Whether the declared budgets fit. run() logs the same, or refuses to start (SchedulerConfig::admission).
  [[nodiscard]] Schedulability check() const;

  /// The hub in which the nodes' topics meet; by default the scheduler has one of its own. Call it before the run.
  Scheduler& use_hub(Hub hub);
  [[nodiscard]] const Hub& hub() const noexcept { return hub_; }
  /// Connects the port `out` of node `from` with the port `in` of node `to`, whatever their topics are called; `in`
  /// then receives only from ports connected to it. Call it before the run. Throws Error: EINVAL for an unknown node,
  /// kTypeMismatch. The run fails when a node has not made a connected port by the end of its init().
  Scheduler& connect(std::string_view from, std::string_view out, std::string_view to, std::string_view in);

  /// Records what the publishers of this process send during a run, from the nodes' init() to their shutdown(), into a file
  /// that must not exist (Recording::start). Call it before the run, which fails when the file cannot be made. With
  /// RecordOptions::snapshot the last seconds are written a second after each emergency stop, expired watchdog, and node
  /// that restarts, is stuck or has failed: `run_1.mcap`, `run_2.mcap` …
  /// `HORUS_RECORD=run.mcap` in the environment does the same for the first run of a program.
  Scheduler& record(std::string path, RecordOptions options = RecordOptions());

  /// Runs until stop(), SIGINT or SIGTERM. Returns the exit code: 0, or 1 when a node could not start.
  int run();
  /// The same for at most `duration`, then a graceful stop.
  int run_for(Duration duration);
  /// The primitive under both, for a reactor of your own: ends after stop() or when its task is asked to stop. It
  /// touches no signals. One run at a time.
  Task<int> run_async();
  /// run() and run_for() as a task for a reactor of your own: ends after stop(), SIGINT, SIGTERM or `limit`. Use it
  /// when the main function is a task, so that a simulated world can run it (docs/simulation.md). Without
  /// `own_signals` it leaves SIGINT and SIGTERM to the host program.
  Task<int> run_main(Duration limit = Duration::max(), bool own_signals = true);
  /// Starts the nodes if they have not been started, releases every node once, and waits for those ticks. Returns 0,
  /// or 1 when a node could not start. close(), the next run or the scheduler's destructor shuts the nodes down. Use
  /// one thread for all of these calls.
  int tick_once();
  /// Shuts down the nodes that tick_once() has started, on the same thread; it does nothing else.
  void close();
  /// Ends the run gracefully: no more releases, ticks in flight finish, nodes shut down in reverse order. Before the
  /// first run, it makes that run end at once; after a run has ended, it does nothing. Any thread, also a signal
  /// handler.
  void stop() noexcept;

  /// Stops all action until reset_emergency_stop(). Publishers of all nodes are muted. Every enter_safe_state() is
  /// called in priority order, by the loop or, when that is blocked, by threads made for it. Ticks in flight and
  /// background work are asked to stop, and no node is released. Nodes with keep_in_emergency() are exempt. Any
  /// thread, also a signal handler.
  void emergency_stop() noexcept;
  /// Lets nodes tick again, each as soon as its earlier work has ended. Their subscriptions are empty then; messages
  /// that arrived meanwhile are dropped.
  void reset_emergency_stop() noexcept;
  [[nodiscard]] bool emergency_stopped() const noexcept { return emergency_.load(std::memory_order_acquire); }
  /// Whether the watchdog of this node has isolated it: its messages are dropped until one of its ticks succeeds. Any
  /// thread, also while the loop is blocked.
  [[nodiscard]] bool is_isolated(std::string_view node) const;

  // --- One node, by its name, before or during a run. Errors: EINVAL, with the known names or the range.
  // ---------------
  /// The node is no longer released; a tick in flight ends normally.
  Result<> pause(std::string_view node);
  Result<> resume(std::string_view node);
  /// Cancels the node's tick, then calls shutdown() and init(); its circuit is half-open then. Before the run it does
  /// nothing.
  Result<> restart(std::string_view node);
  /// A deadline of 0 means none.
  Result<> set_node_deadline(std::string_view node, Duration deadline);
  Result<> set_node_watchdog(std::string_view node, bool enabled,
                             Duration timeout = NodeSettings::kDefaultWatchdog);
  /// Keeps the node from ticking until reset_circuit().
  Result<> open_circuit(std::string_view node);
  Result<> reset_circuit(std::string_view node);

  /// The reason why the last run or tick_once() returned 1, as in the log; empty otherwise. Any thread.
  [[nodiscard]] std::string start_problem() const;
  /// Names in the order of addition. Any thread, once all nodes have been added.
  [[nodiscard]] std::vector<std::string> node_list() const;
  /// A snapshot of one node; empty when there is no such node. Any thread, also a safe-state hook. When a loop is
  /// blocked (it does not answer within 50 ms), this is the last snapshot, and `age_ms` gives its age; state and
  /// watchdog are current all the same.
  [[nodiscard]] std::optional<NodeStatistics> statistics(std::string_view name) const;
  /// All nodes, in the order of addition.
  [[nodiscard]] std::vector<NodeStatistics> statistics() const;
  /// How often this process was kept from running (SIGSTOP, a frozen container, a debugger, a quota). That time
  /// counts against no watchdog and no limit. Any thread.
  [[nodiscard]] std::uint64_t absences() const;
  /// A table of all nodes for a person.
  [[nodiscard]] std::string status() const;
  /// The same with the fault counters; with Detail::awaits also how long each node waited, and where.
  [[nodiscard]] std::string report(Detail detail = Detail::nodes) const;
  /// Recent events, up to SchedulerConfig::timeline_events. Events of a blocked loop are missing.
  [[nodiscard]] Timeline timeline() const;
  [[nodiscard]] const SchedulerConfig& config() const noexcept { return config_; }

 private:
  friend class NodeBase;
  friend class NodeBuilder;
  friend class detail::NodeRecord;
  friend class detail::Executor;
  friend class detail::RunEnd;

  struct Connection {
    std::string from, out, to, in;
  };
  struct Companion;
  class Claim;
  class Attached;

  NodeBuilder adopt(std::shared_ptr<NodeBase> node);
  void check_not_running(const char* what) const;
  void cannot_start(const std::string& why);
  void check_name(const detail::NodeRecord& record, const std::string& name) const;
  void settle_names();
  void settle(bool threads);
  [[nodiscard]] detail::NodeRecord* find_node(std::string_view name) const;
  [[nodiscard]] Result<detail::NodeRecord*> known_node(const char* what, std::string_view name) const;
  Result<> control(const char* what, std::string_view name, std::function<void(detail::NodeRecord&)> work);

  // Ports; `wiring_` is held.
  [[nodiscard]] std::shared_ptr<msg::Port> find_port(const std::string& node, const std::string& port,
                                                     msg::Direction direction) const;
  void open_port(NodeBase& node, const NodeBase::NodePort& port);
  // Ports; take `wiring_`.
  void hold_ports(NodeBase& node, bool held);
  void discard_latest(NodeBase& node);
  void add_port(NodeBase& node, const std::shared_ptr<msg::Port>& port);
  void close_stale_ports();
  void open_ports(const std::vector<detail::NodeRecord*>& nodes);
  void mute(NodeBase& node, bool muted);
  bool try_mute(NodeBase& node, bool muted) noexcept;  // false where it would have to wait
  void check_connections() const;

  void apply_thread_settings();
  int run_on_own_reactor(Duration limit, bool own_signals);
  [[nodiscard]] std::uint64_t trouble() const noexcept;
  [[nodiscard]] std::vector<Diagnostic> diagnose() const;
  Task<int> run_limited(Duration limit, bool own_signals);
  Task<bool> start_all();
  Task<> watch_signals(const detail::RunEnd& end);
  void end_process(int code) noexcept;
  void fail() noexcept;
  void end_late() noexcept { end_was_late_.store(true, std::memory_order_relaxed); }
  Task<> watch_ladders();
  void run_companion(Companion& companion);
  void stop_companions() noexcept;
  Task<> live(Companion& companion);
  void take_from_journal(bool stop, bool emergency, std::uint32_t resets) noexcept {
    stop_requested_.store(stop, std::memory_order_relaxed);
    emergency_.store(emergency, std::memory_order_release);
    emergency_resets_.store(resets, std::memory_order_release);
  }
  [[nodiscard]] std::uint32_t emergency_resets() const noexcept {
    return emergency_resets_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool stop_is_requested() const noexcept {
    return stop_requested_.load(std::memory_order_acquire);
  }
  // What the first executor heard, the others hear too.
  void pass_on(const detail::Executor& from) noexcept;
  [[nodiscard]] std::vector<detail::Executor*> all_executors() const;
  [[nodiscard]] std::vector<std::shared_ptr<const detail::Snapshot>> ask_all() const;
  [[nodiscard]] std::vector<NodeStatistics> statistics_of(
      const std::vector<std::shared_ptr<const detail::Snapshot>>& answers) const;
  void add_messages(std::vector<NodeStatistics>& all) const;
  Task<bool> start_and_release(ServiceNotifier* service);

  SchedulerConfig config_;
  std::shared_ptr<io::Reactor> own_reactor_;  // after tick_once() shared with the thread's other schedulers
  Hub hub_{"scheduler"};
  std::vector<Connection> connections_;
  std::vector<std::unique_ptr<detail::NodeRecord>> nodes_;
  std::vector<std::unique_ptr<detail::Executor>> executors_;  // the first is that of the running thread
  detail::Executor* main_ = nullptr;                          // that first one
  std::vector<std::unique_ptr<Companion>> companions_;        // of the others, while running
  std::unique_ptr<detail::SafetyMonitor> monitor_;
  std::atomic<bool> stop_requested_{false};
  // The nodes' publishers obey it, and may outlive the scheduler.
  const std::shared_ptr<std::atomic<bool>> emergency_flag_ = std::make_shared<std::atomic<bool>>(false);
  std::atomic<bool>& emergency_ = *emergency_flag_;
  std::atomic<std::uint32_t> emergency_resets_{0};
  std::atomic<bool> running_{false};
  std::atomic<bool> ended_{false};         // a run has, and no other has begun
  std::atomic<bool> failed_{false};        // a node that started late could not
  std::atomic<bool> end_was_late_{false};  // a shutdown() took longer than its limit
  std::atomic<int> signals_read_{0};       // by the loop, of those that end a run
  bool started_ = false;
  std::thread::id started_on_;
  bool settled_ = false;
  std::string start_problem_;
  mutable std::mutex mutex_;   // of executors_, which a first run fills
  mutable std::mutex wiring_;  // of the nodes' lists of ports
};

}  // namespace horus::HORUS_ABI
