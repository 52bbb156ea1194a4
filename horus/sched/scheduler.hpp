// SPDX-License-Identifier: Apache-2.0
// The tick scheduler: releases nodes on their grids and keeps account of them. It owns its nodes; one thread runs it;
// stop() and the queries are safe from any thread.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/node.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/sched/statistics.hpp>
#include <horus/task/event.hpp>

namespace horus {

namespace detail {
class NodeRecord;
}

/// Configures a node that was just added: `scheduler.add<Gps>().rate(10_hz).priority(1)`. Use it before the run.
class HORUS_API NodeBuilder {
 public:
  /// Ticks per second, above 0 up to 100 kHz. A coroutine node without a rate is event-driven.
  NodeBuilder& rate(Rate rate);
  /// Order of nodes released at the same instant: 0 first; equal ones in the order of addition. Default 100.
  NodeBuilder& priority(int priority);
  /// Errors: Error(EEXIST) when another node was given the same name explicitly.
  NodeBuilder& name(std::string name);
  [[nodiscard]] NodeBase& node() const noexcept;

 private:
  friend class Scheduler;
  NodeBuilder(Scheduler& scheduler, detail::NodeRecord& record) noexcept
      : scheduler_(scheduler), record_(record) {}
  Scheduler& scheduler_;
  detail::NodeRecord& record_;
};

/// Runs nodes on one thread: periodic ones on an absolute grid, event-driven ones again and again.
///
/// Semantics: a tick that suspends holds nobody up. Late work never shifts a grid and is never caught up in bursts.
/// Nodes released at the same instant start by priority, then in the order of addition; coroutines that are ready
/// to continue go first.
/// Errors: configuration mistakes throw Error where they are made. `run` gives 0, or 1 when a node's init failed
/// (logged in one line).
/// Thread safety: build and run it on one thread; `stop`, `node_list`, `statistics` and `status` from any thread.
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

  /// Makes and adds a node: `add<Gps>(arguments…)`. Its name: the one it gives itself, else its class in snake_case.
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
  /// Adds a function as a node: `void()` ticks as a plain node, one that gives a Task<> as a coroutine node.
  template <class F>
    requires std::invocable<F&>
  NodeBuilder add(std::string name, F function) {
    if constexpr (std::same_as<std::invoke_result_t<F&>, Task<>>) {
      return adopt(std::make_unique<detail::LambdaNode<F>>(std::move(name), std::move(function)));
    } else {
      return adopt(std::make_unique<detail::PlainLambdaNode<F>>(std::move(name), std::move(function)));
    }
  }

  /// The rate of plain nodes that set none.
  Scheduler& tick_rate(Rate rate);

  /// Where the nodes' topics meet; by default a hub of this scheduler alone. Before the run.
  Scheduler& use_hub(Hub hub);
  [[nodiscard]] const Hub& hub() const noexcept { return hub_; }
  /// What `from` publishes as `out` reaches what `to` subscribes as `in`, whatever the topics are called; `in` then hears
  /// only what is connected to it. Before the run. Throws Error: ENOENT for a node that is not there, kTypeMismatch. A
  /// port that no node has made by the end of its init() fails the run.
  Scheduler& connect(std::string_view from, std::string_view out, std::string_view to, std::string_view in);

  /// Runs until stop(), SIGINT or SIGTERM. Gives the exit code: 0, or 1 when a node could not start.
  int run();
  /// The same for at most `duration`, then a graceful stop.
  int run_for(Duration duration);
  /// The primitive under both, for a reactor of your own: ends after stop() or when its task is asked to stop. Touches
  /// no signals. One run at a time.
  Task<int> run_async();
  /// What run() and run_for() do, as a task of a reactor of your own: ends after stop(), SIGINT, SIGTERM or `limit`. For
  /// programs whose main is a task, so that a simulated world can run it (docs/simulation.md).
  Task<int> run_main(Duration limit = Duration::max());
  /// Starts the nodes if they are not yet started, releases every node once, and waits for those ticks.
  /// Gives 0, or 1 when a node could not start. The nodes are shut down by the next run, or with the scheduler.
  int tick_once();
  /// Ends the run gracefully: no more releases, ticks in flight finish, nodes shut down in reverse order. Any thread;
  /// before a run it ends that run at once.
  void stop() noexcept;

  /// Names in the order of addition. Any thread, once the nodes are added.
  [[nodiscard]] std::vector<std::string> node_list() const;
  /// A snapshot of one node; nothing when there is none of that name. Any thread: from another one it waits for the
  /// loop to answer.
  [[nodiscard]] std::optional<NodeStatistics> statistics(std::string_view name) const;
  /// All nodes, in the order of addition.
  [[nodiscard]] std::vector<NodeStatistics> statistics() const;
  /// A table of all nodes for a person.
  [[nodiscard]] std::string status() const;
  [[nodiscard]] const SchedulerConfig& config() const noexcept { return config_; }

 private:
  friend class NodeBase;
  friend class NodeBuilder;
  friend class detail::NodeRecord;

  struct Connection {
    std::string from, out, to, in;
  };

  NodeBuilder adopt(std::unique_ptr<NodeBase> node);
  void check_not_running(const char* what) const;
  void check_name(const detail::NodeRecord& record, const std::string& name) const;
  void settle_names();
  [[nodiscard]] detail::NodeRecord* find_node(std::string_view name) const;
  [[nodiscard]] std::shared_ptr<msg::Port> find_port(const std::string& node, const std::string& port,
                                                     msg::Direction direction) const;
  void open_port(NodeBase& node, const NodeBase::NodePort& port);
  void check_connections() const;
  void apply_thread_settings();
  int run_on_own_reactor(Duration limit, bool own_signals);
  Task<int> run_limited(Duration limit, bool own_signals);
  Task<> watch_signals();
  Task<bool> start_nodes();
  Task<> stop_nodes();
  Task<> release_loop();
  Task<> release_all_once();
  void release_due(std::int64_t now_ns);
  std::vector<NodeStatistics> collect() const;

  SchedulerConfig config_;
  std::unique_ptr<io::Reactor> own_reactor_;
  Hub hub_{"scheduler"};
  std::vector<Connection> connections_;
  std::vector<std::unique_ptr<detail::NodeRecord>> nodes_;
  std::vector<detail::NodeRecord*> releases_;  // periodic nodes, a heap by next release
  std::vector<detail::NodeRecord*> due_;
  std::shared_ptr<Event> stop_event_ = std::make_shared<Event>();  // of this run
  std::atomic<bool> stop_requested_{false};
  bool started_ = false;
  bool releasing_ = false;
  mutable std::mutex mutex_;        // of reactor_, against a run that ends
  io::Reactor* reactor_ = nullptr;  // while running
};

}  // namespace horus
