// SPDX-License-Identifier: Apache-2.0
// What the safety monitor's thread may look at while a loop runs or hangs: atomics alone. Internal.
#pragma once

#include <atomic>
#include <cstdint>

#include <horus/base/clock.hpp>
#include <horus/sched/data/hook_claim.hpp>
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI::detail {

class NodeRecord;

/// The steps of the watchdog's ladder.
enum class WatchdogStep : std::uint8_t { well, warned, unhealthy, isolated };

/// Whether a critical node that is restarted for ever has been away for too long.
enum class AwayStep : std::uint8_t { none, too_long, acted };

struct NodeVitals {
  // What every tick and every look of the monitor need comes first.
  std::atomic<NodeState> state{NodeState::added};
  std::atomic<WatchdogStep> step{WatchdogStep::well};
  std::atomic<WatchdogStep> acted{WatchdogStep::well};  ///< the last step that somebody has taken over
  std::atomic<AwayStep> away_step{AwayStep::none};
  HookClaim hook;                           ///< who calls enter_safe_state()
  std::atomic<std::int64_t> timeout_ns{0};  ///< 0: no watchdog
  std::atomic<std::int64_t> fed_ns{0};      ///< last success; 0: its clock is frozen
  std::atomic<std::int64_t> away_ns{0};     ///< a critical node begins anew since then; 0: it does not
  std::atomic<std::int64_t> stepped_ns{0};  ///< when it last climbed
  std::atomic<std::uint64_t> expirations{0};
  std::atomic<bool> isolated{false};              ///< somebody has isolated it; no tick has succeeded since
  std::atomic<bool> mute_owed{false};             ///< the monitor could not mute it without waiting
  std::atomic<std::int64_t> hook_since_ns{0};     ///< when the call that runs began; 0: none runs
  std::atomic<std::int64_t> hook_reported_ns{0};  ///< the beginning of the call that was reported to hang

  /// How long it may be away.
  [[nodiscard]] std::int64_t away_limit_ns() const noexcept {
    const std::int64_t timeout = timeout_ns.load(std::memory_order_relaxed);
    return 3 * (timeout != 0 ? timeout : kAwayWithoutWatchdog_ns);
  }
  /// Whoever gets it trips the emergency stop.
  bool take_away_step() noexcept {
    AwayStep before = AwayStep::too_long;
    return away_step.compare_exchange_strong(before, AwayStep::acted, std::memory_order_acq_rel);
  }
  static constexpr std::int64_t kAwayWithoutWatchdog_ns = 1'000'000'000;

  /// Whoever gets it does what `step` asks for: the loop, or the monitor where the loop does not come.
  bool take_over(WatchdogStep wanted) noexcept {
    auto before = static_cast<WatchdogStep>(static_cast<int>(wanted) - 1);
    return acted.compare_exchange_strong(before, wanted, std::memory_order_acq_rel);
  }
};

/// What a thread does for a node.
enum class Activity : std::uint8_t { tick, background, init, shutdown, on_error, hook };

/// Where a run stands on one thread.
enum class Phase : std::uint8_t { idle, starting, running, stopping };

struct LoopVitals {
  std::atomic<std::uint64_t> beat{0};        ///< turns of the loop
  std::atomic<bool> asleep{false};           ///< it waits for something to do
  std::atomic<std::int64_t> due_ns{kNever};  ///< the next release
  std::atomic<Phase> phase{Phase::idle};
  std::atomic<NodeRecord*> between{nullptr};  ///< the node that init() or shutdown() is under way for
  std::atomic<std::int64_t> between_ns{0};    ///< since when
  std::atomic<NodeRecord*> running{nullptr};  ///< the node whose code runs now
  std::atomic<Activity> activity{Activity::tick};
  std::atomic<std::int64_t> since_ns{0};  ///< since when
};

/// For the length of a call: its node's code runs now.
class Doing {
 public:
  Doing(LoopVitals& vitals, NodeRecord& node, Activity activity) noexcept
      : vitals_(vitals),
        node_(vitals.running.load(std::memory_order_relaxed)),
        activity_(vitals.activity.load(std::memory_order_relaxed)) {
    vitals.activity.store(activity, std::memory_order_relaxed);
    vitals.running.store(&node, std::memory_order_release);
  }
  Doing(const Doing&) = delete;
  Doing& operator=(const Doing&) = delete;
  ~Doing() {
    vitals_.running.store(node_, std::memory_order_release);
    vitals_.activity.store(activity_, std::memory_order_relaxed);
  }

 private:
  LoopVitals& vitals_;
  NodeRecord* const node_;
  const Activity activity_;
};

}  // namespace horus::HORUS_ABI::detail
