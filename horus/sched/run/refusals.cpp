// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/refusals.hpp>

#include <fmt/format.h>

#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/node_record.hpp>

namespace horus::HORUS_ABI::detail {

Error refuse(const char* what, const NodeRecord& record, const std::string& why) {
  return Error(EINVAL, what, fmt::format("node \"{}\" ({})", record.node_name(), why));
}

Result<> check_deadline(const char* what, const NodeRecord& record, Duration deadline) {
  if (deadline >= Duration::zero() && deadline <= NodeSettings::kMaxDeadline) return {};
  return refuse(what, record, fmt::format("{} ms: 0 to 10000", static_cast<double>(deadline.count()) / 1e6));
}

// Before the first run a plain node has no rate of its own, and prepare() looks.
Result<> check_watchdog(const NodeRecord& record, Duration timeout) {
  if (record.periodic() && timeout < 3 * record.settings.rate.period()) {
    return refuse("watchdog", record,
                  fmt::format("{} ms is shorter than 3 periods of {} Hz, {} ms",
                              static_cast<double>(timeout.count()) / 1e6, record.settings.rate.hz,
                              static_cast<double>(3 * record.settings.rate.period().count()) / 1e6));
  }
  if (timeout >= NodeSettings::kLeastWatchdog && timeout <= NodeSettings::kMostWatchdog) return {};
  return refuse("watchdog", record,
                fmt::format("{} ms: 10 to 60000", static_cast<double>(timeout.count()) / 1e6));
}

}  // namespace horus::HORUS_ABI::detail
