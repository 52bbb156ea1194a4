// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/states.hpp>

namespace horus::HORUS_ABI {

const char* to_string(NodeState state) noexcept {
  switch (state) {
    case NodeState::added: return "added";
    case NodeState::initialising: return "initialising";
    case NodeState::running: return "running";
    case NodeState::paused: return "paused";
    case NodeState::restarting: return "restarting";
    case NodeState::stuck: return "stuck";
    case NodeState::stopping: return "stopping";
    case NodeState::stopped: return "stopped";
    case NodeState::failed: return "failed";
  }
  return "?";
}

const char* to_string(CircuitState state) noexcept {
  switch (state) {
    case CircuitState::closed: return "closed";
    case CircuitState::open: return "open";
    case CircuitState::half_open: return "half_open";
    case CircuitState::forced_open: return "forced_open";
  }
  return "?";
}

const char* to_string(TickOutcome outcome) noexcept {
  switch (outcome) {
    case TickOutcome::ok: return "ok";
    case TickOutcome::failed: return "failed";
    case TickOutcome::cancelled_deadline: return "cancelled (deadline)";
    case TickOutcome::cancelled_overrun: return "cancelled (overrun)";
    case TickOutcome::cancelled_watchdog: return "cancelled (watchdog)";
    case TickOutcome::cancelled_shutdown: return "cancelled (shutdown)";
    case TickOutcome::cancelled_emergency: return "cancelled (emergency)";
    case TickOutcome::cancelled_paused: return "cancelled (paused)";
    case TickOutcome::skipped_in_flight: return "skipped (in flight)";
    case TickOutcome::skipped_circuit_open: return "skipped (circuit open)";
    case TickOutcome::skipped_paused: return "skipped (paused)";
    case TickOutcome::skipped_emergency: return "skipped (emergency)";
    case TickOutcome::skipped_miss: return "skipped (miss)";
    case TickOutcome::skipped_late: return "skipped (late)";
  }
  return "?";
}

const char* to_string(Miss miss) noexcept {
  switch (miss) {
    case Miss::warn: return "warn";
    case Miss::skip: return "skip";
    case Miss::degrade: return "degrade";
    case Miss::cancel: return "cancel";
    case Miss::safe_mode: return "safe_mode";
    case Miss::stop: return "stop";
  }
  return "?";
}

const char* to_string(Overrun overrun) noexcept {
  switch (overrun) {
    case Overrun::skip: return "skip";
    case Overrun::queue: return "queue";
    case Overrun::cancel: return "cancel";
  }
  return "?";
}

const char* to_string(Policy policy) noexcept {
  switch (policy) {
    case Policy::priority: return "priority";
    case Policy::rate_monotonic: return "rate_monotonic";
    case Policy::edf: return "edf";
  }
  return "?";
}

}  // namespace horus::HORUS_ABI
