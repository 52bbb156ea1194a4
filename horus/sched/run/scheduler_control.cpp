// SPDX-License-Identifier: Apache-2.0
// One node, by its name, from any thread: the work is done on the node's loop.
#include <fmt/format.h>

#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/refusals.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {

using detail::check_deadline;
using detail::check_watchdog;
using detail::NodeRecord;

Result<NodeRecord*> Scheduler::known_node(const char* what, std::string_view name) const {
  const std::lock_guard lock(mutex_);
  if (NodeRecord* record = find_node(name)) return record;
  std::string names;
  for (const auto& record : nodes_) names += (names.empty() ? "" : ", ") + record->node_name();
  return Error(EINVAL, what, fmt::format("node \"{}\" (there are: {})", name, names));
}

Result<> Scheduler::control(const char* what, std::string_view name, std::function<void(NodeRecord&)> work) {
  auto record = known_node(what, name);
  if (!record) return record.error();
  detail::NodeHost* host = nullptr;
  {
    const std::lock_guard lock(mutex_);
    host = (*record)->host;
    if (host == nullptr) {
      work(**record);
      return {};
    }
  }
  if (host->is_here()) {
    work(**record);
    return {};
  }
  std::function<void()> command = [work = std::move(work), record = *record] { work(*record); };
  if (host->tell(std::move(command))) return {};
  return Error(
      EBUSY, what,
      fmt::format("node \"{}\" (its loop has not taken the last 1024 commands: a tick blocks it)", name));
}

Result<> Scheduler::pause(std::string_view node) {
  return control("pause", node, [](NodeRecord& record) { record.pause(true); });
}
Result<> Scheduler::resume(std::string_view node) {
  return control("resume", node, [](NodeRecord& record) { record.pause(false); });
}
Result<> Scheduler::restart(std::string_view node) {
  return control("restart", node, [](NodeRecord& record) {
    if (record.host != nullptr && record.host->is_here()) record.host->restart(record, true);
  });
}
Result<> Scheduler::open_circuit(std::string_view node) {
  return control("open circuit", node, [](NodeRecord& record) { record.force_open(); });
}
Result<> Scheduler::reset_circuit(std::string_view node) {
  return control("reset circuit", node, [](NodeRecord& record) { record.reset_circuit(); });
}
Result<> Scheduler::set_node_deadline(std::string_view node, Duration deadline) {
  auto record = known_node("set_node_deadline", node);
  if (!record) return record.error();
  if (auto sound = check_deadline("set_node_deadline", **record, deadline); !sound) return sound;
  return control("set_node_deadline", node, [deadline](NodeRecord& of) {
    of.settings.deadline = deadline;
    of.settings_changed();
  });
}
Result<> Scheduler::set_node_watchdog(std::string_view node, bool enabled, Duration timeout) {
  auto record = known_node("set_node_watchdog", node);
  if (!record) return record.error();
  if (enabled) {
    if (auto sound = check_watchdog(**record, timeout); !sound) return sound;
  }
  return control("set_node_watchdog", node, [enabled, timeout](NodeRecord& of) {
    of.settings.watchdog_enabled = enabled;
    of.settings.watchdog = timeout;
    of.settings_changed();
    if (of.host != nullptr) of.host->watch_now();
  });
}

}  // namespace horus::HORUS_ABI
