// SPDX-License-Identifier: Apache-2.0
// What other threads do to a loop that is recorded exactly: the safety monitor's steps, a stop, an emergency stop, questions.
// They are noted where the loop sees them, and at a replay they are there again.
#include <cstring>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

// Of an executor, and behind it of each of its nodes. Plain data.
struct LoopState {
  std::uint8_t stop_requested;
  std::uint8_t emergency;
  std::uint8_t snapshot_wanted;
  std::uint8_t reserved;
  std::uint32_t resets;
  std::uint32_t commands;
  std::uint32_t nodes;
  std::uint64_t absences;
};

struct NodeStep {
  WatchdogStep step;
  WatchdogStep acted;
  AwayStep away;
  std::uint8_t isolated;
  std::uint32_t hook;
  std::uint64_t expirations;
  std::int64_t stepped_ns;
};

template <class T>
void put(std::vector<std::byte>& into, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  into.insert(into.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::vector<std::byte> Executor::state_for_journal() {
  std::vector<std::byte> state;
  LoopState loop{};
  loop.stop_requested = scheduler_.stop_is_requested() ? 1 : 0;
  loop.emergency = scheduler_.emergency_stopped() ? 1 : 0;
  loop.snapshot_wanted = snapshot_wanted_.load(std::memory_order_relaxed) ? 1 : 0;
  loop.resets = scheduler_.emergency_resets();
  loop.nodes = static_cast<std::uint32_t>(nodes.size());
  loop.absences = absences();
  {
    const std::lock_guard lock(mutex_);
    loop.commands = static_cast<std::uint32_t>(commands_.size());
  }
  put(state, loop);
  for (const NodeRecord* record : nodes) {
    const NodeVitals& vitals = record->vitals;
    NodeStep node{};
    node.step = vitals.step.load(std::memory_order_acquire);
    node.acted = vitals.acted.load(std::memory_order_relaxed);
    node.away = vitals.away_step.load(std::memory_order_relaxed);
    node.isolated = vitals.isolated.load(std::memory_order_relaxed) ? 1 : 0;
    node.hook = vitals.hook.word();
    node.expirations = vitals.expirations.load(std::memory_order_relaxed);
    node.stepped_ns = vitals.stepped_ns.load(std::memory_order_relaxed);
    put(state, node);
  }
  return state;
}

void Executor::hear_from_journal() {
  std::vector<std::byte> state;
  if (!journal_->outside(false, state)) return;
  LoopState loop{};
  if (state.size() >= sizeof loop) std::memcpy(&loop, state.data(), sizeof loop);
  if (state.size() != sizeof loop + nodes.size() * sizeof(NodeStep) || loop.nodes != nodes.size())
    journal_->differs(fmt::format("{} nodes", loop.nodes), fmt::format("{} nodes", nodes.size()));
  scheduler_.take_from_journal(loop.stop_requested != 0, loop.emergency != 0, loop.resets);
  if (loop.snapshot_wanted != 0) snapshot_wanted_.store(true, std::memory_order_relaxed);
  absences_.store(loop.absences, std::memory_order_relaxed);
  const std::byte* at = state.data() + sizeof loop;
  for (NodeRecord* record : nodes) {
    NodeStep node{};
    std::memcpy(&node, at, sizeof node);
    at += sizeof node;
    NodeVitals& vitals = record->vitals;
    vitals.step.store(node.step, std::memory_order_relaxed);
    vitals.acted.store(node.acted, std::memory_order_relaxed);
    vitals.away_step.store(node.away, std::memory_order_relaxed);
    vitals.isolated.store(node.isolated != 0, std::memory_order_relaxed);
    vitals.expirations.store(node.expirations, std::memory_order_relaxed);
    vitals.stepped_ns.store(node.stepped_ns, std::memory_order_relaxed);
    // A helper of the monitor had called it, on its own thread.
    if (vitals.hook.misses_call_of(node.hook)) {
      journal_->aside([&] { record->node->enter_safe_state_at(SafeStateCall::at_once); });
      record->count_safe_state();
    }
    vitals.hook.set_word(node.hook);
  }
  const std::lock_guard lock(mutex_);
  if (commands_.size() < loop.commands && !std::exchange(misses_commands_, true))
    log_warning(
        "replay: another thread had told the scheduler what to do (pause, restart, a change of settings), "
        "and in this "
        "run no thread does");
}

void Executor::attend_outside() noexcept {
  if (journal_->replays()) return hear_from_journal();
  std::vector<std::byte> state = state_for_journal();
  if (state == journaled_) return;
  static_cast<void>(journal_->outside(true, state));
  journaled_ = std::move(state);
}

}  // namespace horus::HORUS_ABI::detail
