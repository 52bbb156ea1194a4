// SPDX-License-Identifier: Apache-2.0
// What a scheduler is asked while it runs. No answer waits for a loop longer than 50 ms: one that is blocked has given a
// snapshot before, and what the safety monitor may see is looked at directly.
#include <algorithm>
#include <future>
#include <thread>

#include <fmt/format.h>

#include <horus/sched/data/snapshot.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {

using detail::Executor;
using detail::NodeRecord;

namespace {

constexpr int kPatience_ms = 50;

}  // namespace

std::vector<std::string> Scheduler::node_list() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  names.reserve(nodes_.size());
  for (const auto& record : nodes_) names.push_back(record->node_name());
  return names;
}

std::vector<Executor*> Scheduler::all_executors() const {
  std::vector<Executor*> all(executors_.size());
  std::transform(executors_.begin(), executors_.end(), all.begin(),
                 [](const auto& one) { return one.get(); });
  return all;
}

std::uint64_t Scheduler::absences() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t sum = 0;
  for (const auto& executor : executors_) sum += executor->absences();
  return sum;
}

bool Scheduler::is_isolated(std::string_view node) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& record) {
    return record->vitals.isolated.load(std::memory_order_acquire) && record->node_name() == node;
  });
}

// The counters of ports, where nobody holds their list for long.
void Scheduler::add_messages(std::vector<NodeStatistics>& all) const {
  std::unique_lock lock(wiring_, std::try_to_lock);
  for (int i = 0; i < kPatience_ms && !lock.owns_lock(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    static_cast<void>(lock.try_lock());
  }
  if (!lock.owns_lock()) return;
  for (const auto& record : nodes_) {
    NodeStatistics& node = all[record->index];
    for (const auto& port : record->node->ports_) {
      const auto alive = port.port.lock();
      if (alive == nullptr) continue;
      if (const auto outbox = alive->shared_outbox()) node.messages_sent += outbox->metrics().published;
      if (const auto inbox = alive->shared_inbox()) {
        const SubscriberMetrics metrics = inbox->metrics();
        node.messages_received += metrics.received;
        node.messages_queued += metrics.queued;
        node.messages_high_water = std::max(node.messages_high_water, metrics.high_water);
      }
    }
  }
}

// All loops are asked at once, and have 50 ms together; what does not come is the last that came.
std::vector<std::shared_ptr<const detail::Snapshot>> Scheduler::ask_all() const {
  std::vector<Executor*> all;
  {
    const std::lock_guard lock(mutex_);
    all = all_executors();
  }
  std::vector<std::uint64_t> tickets(all.size());
  std::transform(all.begin(), all.end(), tickets.begin(),
                 [](Executor* executor) { return executor->ask_for_snapshot(); });
  const std::int64_t until = monotonic_ns() + std::int64_t{kPatience_ms} * 1'000'000;
  std::vector<std::shared_ptr<const detail::Snapshot>> answers(all.size());
  std::transform(
      all.begin(), all.end(), tickets.begin(), answers.begin(),
      [until](Executor* executor, std::uint64_t ticket) { return executor->snapshot(ticket, until); });
  return answers;
}

std::vector<NodeStatistics> Scheduler::statistics_of(
    const std::vector<std::shared_ptr<const detail::Snapshot>>& answers) const {
  std::vector<NodeStatistics> all(nodes_.size());
  std::vector<bool> known(nodes_.size());
  const std::int64_t now = now_ns();
  for (const auto& answer : answers) {
    if (answer == nullptr) continue;
    for (const auto& [index, node] : answer->nodes) {
      all[index] = node;
      known[index] = true;
      if (!answer->fresh) all[index].age_ms = static_cast<double>(now - answer->taken_ns) / 1e6;
    }
  }
  for (const auto& record : nodes_) {
    NodeStatistics& node = all[record->index];
    if (!known[record->index]) {  // nothing has come since the run began
      node.name = record->node_name();
      node.executor = record->settings.executor;
      node.priority = record->settings.priority;
      node.rate_hz = node.tick_rate_hz = record->settings.rate.hz;
    }
    if (!known[record->index] || node.age_ms > 0) record->view_from_outside(node, now);
  }
  add_messages(all);
  return all;
}

std::vector<NodeStatistics> Scheduler::statistics() const {
  {
    const std::lock_guard lock(mutex_);
    if (!settled_) {
      std::vector<NodeStatistics> all(nodes_.size());
      for (const auto& record : nodes_) all[record->index] = record->statistics();
      return all;
    }
  }
  return statistics_of(ask_all());
}

std::optional<NodeStatistics> Scheduler::statistics(std::string_view name) const {
  for (NodeStatistics& node : statistics()) {
    if (node.name == name) return std::move(node);
  }
  return std::nullopt;
}

namespace {

void take_timeline(Executor& executor, Timeline& into) {
  executor.timeline.append_to(into);
  for (const NodeRecord* record : executor.nodes) {
    into.nodes[record->index] = {record->node_name(), record->settings.rate.hz,
                                 record->settings.deadline.count(), record->settings.executor};
  }
}

}  // namespace

Timeline Scheduler::timeline() const {
  Timeline timeline;
  timeline.title = fmt::format("horus {}", config_.preset);
  timeline.nodes.resize(nodes_.size());
  std::vector<Executor*> all;
  {
    const std::lock_guard lock(mutex_);
    all = all_executors();
  }
  for (Executor* executor : all) {
    if (executor->is_here()) {
      take_timeline(*executor, timeline);
      continue;
    }
    // It owns what it fills: a loop that is blocked answers when nobody waits any more.
    const auto part = std::make_shared<Timeline>(timeline);
    const auto answered = std::make_shared<std::promise<void>>();
    auto answer = answered->get_future();
    const bool told = executor->tell([executor, part, answered] {
      take_timeline(*executor, *part);
      answered->set_value();
    });
    if (told && answer.wait_for(std::chrono::milliseconds(kPatience_ms)) == std::future_status::ready)
      timeline = std::move(*part);
  }
  std::sort(timeline.events.begin(), timeline.events.end(),
            [](const TimelineEvent& a, const TimelineEvent& b) {
              return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.end_ns < b.end_ns;
            });
  return timeline;
}

}  // namespace horus::HORUS_ABI
