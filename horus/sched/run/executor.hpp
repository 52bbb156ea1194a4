// SPDX-License-Identifier: Apache-2.0
// One thread's share of a scheduler: its nodes, their releases, what others tell it. Internal.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/io/loop/lookout.hpp>
#include <horus/sched/data/snapshot.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI {
class Scheduler;
}

namespace horus::HORUS_ABI::io {
class Journal;
}

namespace horus::HORUS_ABI::detail {

/// Who starts first at one instant: 0 first, equal ones in the order of addition.
bool by_priority(const NodeRecord* a, const NodeRecord* b) noexcept;

/// Of the calling thread, nanoseconds.
struct ThreadTimes {
  std::int64_t wall = 0, user = 0, kernel = 0, asleep = 0;
  static ThreadTimes now();
};

/// Lives as long as its scheduler; is attached to a reactor while a run lasts.
class Executor final : public io::Lookout, public NodeHost {
 public:
  Executor(Scheduler& scheduler, std::string name, ExecutorConfig config)
      : name_(std::move(name)),
        name_for_people_(name_.empty() ? "the scheduler's thread" : "executor " + name_),
        config_(std::move(config)),
        scheduler_(scheduler) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const ExecutorConfig& config() const noexcept { return config_; }
  [[nodiscard]] Scheduler& scheduler() const noexcept { return scheduler_; }
  std::vector<NodeRecord*> nodes;  // in the order of addition; not changed during a run
  /// They are known now: who starts first, and where their ticks are counted. Folds the log.
  void take_nodes();

  // --- Its thread
  void attach();
  void detach();
  [[nodiscard]] bool is_here() const noexcept override {
    const io::Reactor* reactor = reactor_.load(std::memory_order_relaxed);
    return reactor != nullptr && reactor == io::Reactor::current();
  }
  /// False when a node cannot start; it has been logged. Nodes start one after another; 10 s after the first one began
  /// those that still wait do so beside everything else, and join later.
  Task<bool> start_nodes();
  /// Releases nodes until it is asked to stop.
  Task<> release();
  /// Every node once, and waits for those ticks.
  Task<> release_once();
  Task<> stop_nodes();
  void restart(NodeRecord& record, bool by_hand) override;
  /// Where its thread's time went since its nodes were started, for people; empty when it is not.
  [[nodiscard]] std::string time_shares() const;
  /// Not before the first release.
  [[nodiscard]] bool watches_nodes() const noexcept override {
    return watches_.load(std::memory_order_relaxed);
  }
  /// Set when this executor is to end.
  Event stop;
  void look() noexcept override;
  [[nodiscard]] bool in_emergency() const noexcept override;
  void attend_emergency() noexcept override;
  void attend_outside() noexcept override;
  [[nodiscard]] bool before_sleep() noexcept override;

  // --- Its run, for its nodes
  [[nodiscard]] const SchedulerConfig& run_config() const noexcept override;
  [[nodiscard]] bool emergency_stopped() const noexcept override;
  void emergency_stop() noexcept override;
  void stop_run() noexcept override;
  void mute(NodeBase& node, bool muted) override;
  [[nodiscard]] bool try_mute(NodeBase& node, bool muted) noexcept override;
  void discard_latest(NodeBase& node) override;
  void watch_now() noexcept override;

  // --- Any thread
  bool tell(std::function<void()> work, bool always = false) override;
  /// Has the loop say how its nodes are; never waits. What it gives is the ticket for `snapshot`.
  std::uint64_t ask_for_snapshot();
  /// Waits for the answer until `until_ns` (of the kernel's clock), or gives an older one; null when there is none.
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot(std::uint64_t ticket, std::int64_t until_ns);
  /// While it is held, and no run lasts, nobody asks and nothing changes.
  [[nodiscard]] std::unique_lock<std::mutex> hold() { return std::unique_lock(mutex_); }
  /// Makes the loop look. Also from a signal handler.
  void poke() noexcept;
  /// The loop was poked and has not looked yet.
  /// Absences of this process: the monitor counts them on the first executor.
  void count_absence() noexcept { absences_.fetch_add(1, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t absences() const noexcept { return absences_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool attention() const noexcept { return attention_.load(std::memory_order_acquire); }
  /// "the scheduler's thread", "executor control".
  [[nodiscard]] const char* name_for_people() const noexcept { return name_for_people_.c_str(); }
  /// Starts the watchdogs' clocks of the nodes that run: the loop when releases begin, the monitor when a start blocks.
  void begin_watching(std::int64_t now_ns) noexcept;
  void watch_despite_start(std::int64_t now_ns) noexcept;
  [[nodiscard]] bool runs_on_a_thread() const noexcept {
    return poked_.load(std::memory_order_acquire) != nullptr;
  }
  /// The thread of the loop, for the safety monitor; only while attached.
  [[nodiscard]] pid_t thread_id() const noexcept { return thread_id_; }
  /// Between the two the thread of the loop does not end. For the monitor's look.
  void begin_visit() noexcept { pokers_.fetch_add(1, std::memory_order_seq_cst); }
  void end_visit() noexcept { pokers_.fetch_sub(1, std::memory_order_seq_cst); }

 private:
  void release_due(std::int64_t now_ns);
  Task<> release_loop();
  Task<> event_loop(NodeRecord& record);
  Task<> start_node(NodeRecord& record);
  Task<> wait_for_start(NodeRecord& record, std::int64_t began_ns);
  Task<> watch_late_starts();
  Task<> end_releases();
  Task<> begin_anew(NodeRecord& record, bool by_hand);
  Task<> shut_down(NodeRecord& record);
  Task<> wait_for_tick(NodeRecord& record, Duration limit);
  void take_commands() noexcept;
  void hear_emergency() noexcept;
  void hear_reset() noexcept;
  Task<> settle(NodeRecord& record);
  Task<> wait_until_clear(const NodeRecord& record);
  [[nodiscard]] std::shared_ptr<const Snapshot> take_snapshot() const;
  void publish_snapshot();
  [[nodiscard]] std::vector<std::byte> state_for_journal();
  void hear_from_journal();

  const std::string name_;
  const std::string name_for_people_;
  const ExecutorConfig config_;
  Scheduler& scheduler_;
  std::atomic<io::Reactor*> reactor_{nullptr};  // the monitor asks is_here()
  std::shared_ptr<io::Waker> waker_;
  pid_t thread_id_ = 0;
  Scope scope_{"scheduler"};
  Scope restarts_{"restarts", Failures::log};
  Scope settling_{"emergency stop", Failures::log};
  Event all_clear_;                 // set while there is no emergency stop that has been heard
  std::uint32_t heard_resets_ = 0;  // Scheduler::emergency_resets
  ThreadTimes began_;               // when its nodes were started
  bool started_ = false;
  bool stopping_ = false;
  bool over_ = false;  // the end of the run has begun, and nothing joins what an emergency stop would spawn
  std::atomic<bool> watches_{false};
  std::atomic<std::uint64_t> absences_{0};
  bool safe_ = false;                 // the emergency stop has been heard
  io::Journal* journal_ = nullptr;    // of a run that is recorded or replayed exactly
  std::vector<std::byte> journaled_;  // what it knows of other threads
  bool misses_commands_ = false;
  // A periodic node and its next grid point: sorting them does not touch the nodes, which are not in the cache.
  struct Release {
    std::int64_t at_ns;
    NodeRecord* node;
    std::uint32_t rank;  // who starts first at one instant
  };
  static bool later(const Release& a, const Release& b) noexcept { return a.at_ns > b.at_ns; }
  void push_release(NodeRecord& node, std::uint32_t rank);
  std::vector<Release> releases_;  // a heap by next release
  std::vector<Release> due_;
  std::vector<NodeRecord*> order_;    // all nodes by priority
  std::vector<NodeRecord*> ticking_;  // of release_once

  std::mutex mutex_;  // of what follows
  std::vector<std::function<void()>> commands_;
  bool is_attached_ = false;
  std::uint64_t asked_ = 0;     // tickets given
  std::uint64_t answered_ = 0;  // the last one that `snapshot_` answers
  std::shared_ptr<const Snapshot> snapshot_;
  std::condition_variable answer_came_;
  std::atomic<bool> snapshot_wanted_{false};
  std::atomic<bool> attention_{false};
  std::atomic<io::Reactor*> poked_{nullptr};
  std::atomic<int> pokers_{0};
};

}  // namespace horus::HORUS_ABI::detail
