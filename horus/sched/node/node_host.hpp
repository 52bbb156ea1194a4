// SPDX-License-Identifier: Apache-2.0
// What a node's record asks of the loop that it runs on, and of the run that this loop belongs to. Both live above it;
// they are handed down. Internal; the loop's thread unless said otherwise.
#pragma once

#include <horus/base/compiler.hpp>

#include <functional>

#include <horus/sched/data/tick_log.hpp>
#include <horus/sched/data/timeline_buffer.hpp>
#include <horus/sched/data/vitals.hpp>

namespace horus::HORUS_ABI {
class NodeBase;
struct SchedulerConfig;
}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::detail {

class NodeRecord;

class NodeHost {
 public:
  TickLog ticks;
  TimelineBuffer timeline;
  LoopVitals vitals;
  bool journaled = false;  ///< of a run that is recorded or replayed exactly

  // --- The loop
  /// Any thread.
  [[nodiscard]] virtual bool is_here() const noexcept = 0;
  /// Whether the clocks of its nodes' watchdogs run. Any thread.
  [[nodiscard]] virtual bool watches_nodes() const noexcept = 0;
  /// An emergency stop that nobody has told this loop of yet, or one that it has not been reset from.
  [[nodiscard]] virtual bool in_emergency() const noexcept = 0;
  /// Hears of an emergency stop or of its reset now, rather than in the loop's next turn.
  virtual void attend_emergency() noexcept = 0;
  /// Journaled: what other threads have changed is about to count.
  virtual void attend_outside() noexcept = 0;
  /// Cancel, drain, shutdown(), wait, init(): beside everything else. Nothing when it is under way.
  virtual void restart(NodeRecord& record, bool by_hand) = 0;

  /// Runs `work` on the thread of the loop, or here and now when no run lasts. False: the loop has not taken the last 1024
  /// (it is blocked), and this one was not added. `always`: it is added all the same. Any thread.
  [[nodiscard]] virtual bool tell(std::function<void()> work, bool always = false) = 0;

  // --- The run
  [[nodiscard]] virtual const SchedulerConfig& run_config() const noexcept = 0;
  /// Any thread.
  [[nodiscard]] virtual bool emergency_stopped() const noexcept = 0;
  virtual void emergency_stop() noexcept = 0;  ///< any thread
  virtual void stop_run() noexcept = 0;        ///< any thread
  /// The publishers of a node send nothing, or send again.
  virtual void mute(NodeBase& node, bool muted) = 0;
  /// The same; false where it would have to wait. Any thread.
  [[nodiscard]] virtual bool try_mute(NodeBase& node, bool muted) noexcept = 0;
  /// Its subscriptions are empty.
  virtual void discard_latest(NodeBase& node) = 0;
  /// The safety monitor looks at once: a time that it is to watch has begun.
  virtual void watch_now() noexcept = 0;

 protected:
  ~NodeHost() = default;
};

}  // namespace horus::HORUS_ABI::detail
