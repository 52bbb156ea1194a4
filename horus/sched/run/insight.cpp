// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/insight.hpp>

#include <algorithm>
#include <string>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::size_t kErrorBytes = 256;
constexpr std::size_t kAwaits = 8;

inspect::Timing timing_of(const Histogram& histogram) {
  if (histogram.count() == 0) return {};
  const auto ns = [](std::uint64_t value) { return static_cast<std::int64_t>(value); };
  return {ns(histogram.percentile(50)), ns(histogram.percentile(99)), ns(histogram.max())};
}

inspect::Node node_of(const NodeStatistics& seen) {
  inspect::Node node;
  node.name = seen.name;
  node.executor = seen.executor;
  node.state = to_string(seen.state);
  node.circuit = to_string(seen.circuit_state);
  node.last_error = seen.last_error.substr(0, kErrorBytes);
  node.priority = seen.priority;
  node.rate_hz = seen.rate_hz;
  node.tick_rate_hz = seen.tick_rate_hz;
  node.age_ms = seen.age_ms;
  node.kept = seen.kept();
  node.ticks = seen.total_ticks;
  node.failed = seen.failed_ticks;
  node.cancelled = seen.cancelled_ticks;
  node.skipped = seen.ticks_skipped;
  node.deadline_misses = seen.deadline_misses;
  node.restarts = seen.restarts;
  node.watchdog_ms = seen.watchdog_enabled ? seen.watchdog_timeout_ms : 0;
  node.watchdog_expired = seen.watchdog_expired;
  node.since_success_ms = seen.watchdog_time_since_feed_ms;
  node.sent = seen.messages_sent;
  node.received = seen.messages_received;
  node.queued = seen.messages_queued;
  node.lateness = timing_of(seen.release_lateness);
  node.execution = timing_of(seen.execution);
  node.response = timing_of(seen.response);
  for (std::size_t i = 0; i < std::min(seen.awaits.size(), kAwaits); ++i) {
    const AwaitStatistics& await = seen.awaits[i];
    node.awaits.push_back({await.operation, await.place, await.count,
                           static_cast<std::int64_t>(await.total_ns),
                           static_cast<std::int64_t>(await.worst_ns)});
  }
  return node;
}

}  // namespace

std::vector<inspect::Node> RunInsight::nodes() {
  const std::vector<NodeStatistics> all = scheduler_.statistics();
  std::vector<inspect::Node> nodes(all.size());
  std::transform(all.begin(), all.end(), nodes.begin(), node_of);
  return nodes;
}

bool RunInsight::has_node(std::string_view node) {
  const std::vector<std::string> names = scheduler_.node_list();
  return std::find(names.begin(), names.end(), node) != names.end();
}

Result<> RunInsight::act(inspect::Action action, std::string_view node) {
  Result<> done;
  switch (action) {
    case inspect::Action::emergency_stop: scheduler_.emergency_stop(); break;
    case inspect::Action::reset_emergency_stop: scheduler_.reset_emergency_stop(); break;
    case inspect::Action::pause: done = scheduler_.pause(node); break;
    case inspect::Action::resume: done = scheduler_.resume(node); break;
    case inspect::Action::restart: done = scheduler_.restart(node); break;
  }
  if (!done) return Error(done.error().code(), to_string(action), done.error().message());
  return {};
}

}  // namespace horus::HORUS_ABI::detail
