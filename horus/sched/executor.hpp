// SPDX-License-Identifier: Apache-2.0
// One thread's share of a scheduler: its nodes, their releases, what others tell it. Internal.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <pthread.h>

#include <horus/io/lookout.hpp>
#include <horus/sched/node_record.hpp>
#include <horus/sched/scheduler_config.hpp>
#include <horus/sched/timeline_buffer.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

namespace horus {
class Scheduler;
}

namespace horus::detail {

/// Of the calling thread, nanoseconds.
struct ThreadTimes {
  std::int64_t wall = 0, user = 0, kernel = 0, asleep = 0;
  static ThreadTimes now();
};

/// Lives as long as its scheduler; is attached to a reactor while a run lasts.
class Executor final : public io::Lookout {
 public:
  Executor(Scheduler& scheduler, std::string name, ExecutorConfig config)
      : name_(std::move(name)), config_(std::move(config)), scheduler_(scheduler) {}
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  ~Executor();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const ExecutorConfig& config() const noexcept { return config_; }
  [[nodiscard]] Scheduler& scheduler() const noexcept { return scheduler_; }
  std::vector<NodeRecord*> nodes;  // in the order of addition; not changed during a run
  TimelineBuffer timeline;
  LoopVitals vitals;

  // --- Its thread
  void attach();
  void detach();
  [[nodiscard]] bool is_here() const noexcept {
    const io::Reactor* reactor = reactor_.load(std::memory_order_relaxed);
    return reactor != nullptr && reactor == io::Reactor::current();
  }
  /// False when a node cannot start; it has been logged.
  Task<bool> start_nodes();
  /// Releases nodes until it is asked to stop.
  Task<> release();
  /// Every node once, and waits for those ticks.
  Task<> release_once();
  Task<> stop_nodes();
  /// Cancel, drain, shutdown(), wait, init(): beside everything else. Nothing when it is under way.
  void restart(NodeRecord& record, bool by_hand);
  /// Where its thread's time went since it was attached, for people; empty when it is not.
  [[nodiscard]] std::string time_shares() const;
  /// Set when this executor is to end.
  Event stop;
  void look() noexcept override;
  [[nodiscard]] bool before_sleep() noexcept override;

  // --- Any thread
  /// Runs `work` on the thread of the loop, or here and now when no run lasts.
  void tell(std::function<void()> work);
  /// While it is held, and no run lasts, nobody asks and nothing changes.
  [[nodiscard]] std::unique_lock<std::mutex> hold() { return std::unique_lock(mutex_); }
  /// Makes the loop look. Also from a signal handler.
  void poke() noexcept;
  /// The thread of the loop, for the safety monitor; only while attached.
  [[nodiscard]] pthread_t thread() const noexcept { return thread_; }
  [[nodiscard]] pid_t thread_id() const noexcept { return thread_id_; }

 private:
  void release_due(std::int64_t now_ns);
  Task<> release_loop();
  Task<> event_loop(NodeRecord& record);
  Task<bool> start_node(NodeRecord& record);
  Task<> begin_anew(NodeRecord& record, bool by_hand);
  Task<> shut_down(NodeRecord& record);
  Task<> wait_for_tick(NodeRecord& record, Duration limit);
  void take_commands() noexcept;
  void enter_safe_states() noexcept;

  const std::string name_;
  const ExecutorConfig config_;
  Scheduler& scheduler_;
  std::atomic<io::Reactor*> reactor_{nullptr};  // the monitor asks is_here()
  std::shared_ptr<io::Waker> waker_;
  pthread_t thread_{};
  pid_t thread_id_ = 0;
  Scope scope_{"scheduler"};
  Scope restarts_{"restarts", Failures::log};
  ThreadTimes attached_;  // at attach()
  bool started_ = false;
  bool stopping_ = false;
  bool safe_ = false;                  // the emergency stop has been heard
  std::vector<NodeRecord*> releases_;  // periodic nodes, a heap by next release
  std::vector<NodeRecord*> due_;

  std::mutex mutex_;  // of what follows
  std::vector<std::function<void()>> commands_;
  bool is_attached_ = false;
  std::atomic<bool> attention_{false};
  std::atomic<io::Reactor*> poked_{nullptr};
  std::atomic<int> pokers_{0};
};

}  // namespace horus::detail
