// SPDX-License-Identifier: Apache-2.0
// NodeStatistics as a dict.
#include <horus/py/base/bindings.hpp>

namespace horus::python {

py::dict to_dict(const Histogram& histogram) {
  py::dict dict;
  dict["count"] = histogram.count();
  dict["min_ns"] = histogram.min();
  dict["mean_ns"] = histogram.mean();
  dict["max_ns"] = histogram.max();
  dict["p50_ns"] = histogram.percentile(50);
  dict["p99_ns"] = histogram.percentile(99);
  dict["p99_9_ns"] = histogram.percentile(99.9);
  return dict;
}

py::dict to_dict(const NodeStatistics& node) {
  py::dict dict;
  dict["name"] = node.name;
  dict["priority"] = node.priority;
  dict["tick_rate"] = node.rate_hz;
  dict["tick_rate_hz"] = node.tick_rate_hz;
  dict["logging_enabled"] = node.logging_enabled;
  dict["state"] = to_string(node.state);
  dict["age_ms"] = node.age_ms;
  dict["grid_points"] = node.grid_points;
  dict["total_ticks"] = node.total_ticks;
  dict["successful_ticks"] = node.successful_ticks;
  dict["failed_ticks"] = node.failed_ticks;
  dict["cancelled_ticks"] = node.cancelled_ticks;
  dict["ticks_skipped"] = node.ticks_skipped;
  dict["on_time_ticks"] = node.on_time_ticks;
  py::dict outcomes;
  for (std::size_t i = 0; i < kTickOutcomes; ++i)
    outcomes[to_string(static_cast<TickOutcome>(i))] = node.outcomes[i];
  dict["outcomes"] = outcomes;
  dict["total_failures"] = node.total_failures;
  dict["consecutive_failures"] = node.consecutive_failures;
  dict["last_error"] = node.last_error;
  dict["circuit_state"] = to_string(node.circuit_state);
  dict["circuit_open"] = node.circuit_open();
  dict["circuit_opens"] = node.circuit_opens;
  dict["circuit_rejected"] = node.circuit_rejected;
  dict["restarts"] = node.restarts;
  dict["deadline_ms"] = node.deadline_ms;
  dict["deadline_misses"] = node.deadline_misses;
  dict["budget_ms"] = node.budget_ms;
  dict["budget_misses"] = node.budget_misses;
  dict["watchdog_enabled"] = node.watchdog_enabled;
  dict["watchdog_timeout_ms"] = node.watchdog_timeout_ms;
  dict["watchdog_expired"] = node.watchdog_expired;
  dict["watchdog_expirations"] = node.watchdog_expirations;
  dict["watchdog_time_since_feed_ms"] = node.watchdog_time_since_feed_ms;
  dict["safe_states"] = node.safe_states;
  dict["avg_tick_duration_ms"] = node.avg_tick_duration_ms();
  dict["min_tick_duration_ms"] = node.min_tick_duration_ms();
  dict["max_tick_duration_ms"] = node.max_tick_duration_ms();
  dict["last_tick_duration_ms"] = node.last_tick_duration_ms();
  dict["messages_sent"] = node.messages_sent;
  dict["messages_received"] = node.messages_received;
  dict["messages_queued"] = node.messages_queued;
  dict["uptime_seconds"] = node.uptime_seconds;
  dict["release_lateness"] = to_dict(node.release_lateness);
  dict["execution"] = to_dict(node.execution);
  dict["suspended"] = to_dict(node.suspended);
  dict["response"] = to_dict(node.response);
  // The names that HORUS users know.
  dict["failure_count"] = node.total_failures;
  dict["rate_hz"] = node.rate_hz;
  return dict;
}

}  // namespace horus::python
