// SPDX-License-Identifier: Apache-2.0
// An emergency stop on one executor: nothing acts from the moment in which it is heard until it is reset. The thread of
// the executor's loop.
#include <algorithm>
#include <exception>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr Duration kSettlePoll =
    std::chrono::milliseconds(5);  // what is asked to stop, and hooks of helper threads
constexpr std::int64_t kShieldLimit_ns = 100'000'000;

}  // namespace

bool Executor::in_emergency() const noexcept { return safe_ || scheduler_.emergency_stopped(); }

void Executor::attend_emergency() noexcept {
  if (journaled) [[unlikely]]
    attend_outside();
  const std::uint32_t resets = scheduler_.emergency_resets();
  if (safe_ && resets != heard_resets_) hear_reset();
  heard_resets_ = resets;
  if (!safe_ && scheduler_.emergency_stopped()) hear_emergency();
}

void Executor::hear_emergency() noexcept {
  safe_ = true;
  all_clear_.reset();
  const std::int64_t now = now_ns();
  timeline.add({now, now, 0, TimelineEvent::Kind::emergency_stop, 0});
  std::vector<NodeRecord*> held;
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(held),
               [](const NodeRecord* record) { return !record->settings.keep_in_emergency; });
  std::sort(held.begin(), held.end(), by_priority);
  // All hooks are asked for before the first one runs: should that one hang, a helper takes the rest.
  for (NodeRecord* record : held) record->vitals.hook.want();
  for (NodeRecord* record : held) {
    scheduler_.hold_ports(*record->node, true);
    record->hold(now);
    record->node->scope_.cancel();
  }
  for (NodeRecord* record : held) record->run_wanted_hook();
  if (over_) return;  // the nodes are being shut down, which nobody waits for twice
  for (NodeRecord* record : held)
    static_cast<void>(settling_.spawn(settle(*record), record->node_name() + " settles"));
}

// Makes the second call of the hook, once nothing of the node runs any more. It looks again and again rather than join the
// background work, which a restart may be joining already.
Task<> Executor::settle(NodeRecord& record) {
  Scope& background = record.node->scope_;
  bool undisturbed = true;
  try {
    co_await record.ended.wait();
    co_await record.idle.wait();
    const std::int64_t limit_ns = saturating_add(now_ns(), kShieldLimit_ns);
    while (background.running() > 0 || record.vitals.hook.running()) {
      if (now_ns() >= limit_ns) background.stop_shielded();
      co_await sleep(kSettlePoll);
    }
    background.reset();
  } catch (const Error&) {
    undisturbed = false;  // the run ends, and shuts the node down
  }
  if (undisturbed && safe_) record.run_settled_hook();
  record.settled(now_ns());
}

void Executor::hear_reset() noexcept {
  safe_ = false;
  const std::int64_t now = now_ns();
  for (NodeRecord* record : nodes) {
    if (record->settings.keep_in_emergency) {
      record->begin_away(now);
      continue;
    }
    scheduler_.hold_ports(*record->node, false);
    record->let_act(now);
  }
  all_clear_.set();
}

Task<> Executor::wait_until_clear(const NodeRecord& record) {
  if (record.settings.keep_in_emergency) co_return;
  attend_emergency();
  while (safe_) co_await all_clear_.wait();
}

}  // namespace horus::HORUS_ABI::detail
