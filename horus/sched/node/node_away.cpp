// SPDX-License-Identifier: Apache-2.0
// A critical node that is restarted for ever never stays stopped, so nothing else would end the time in which it is not
// there. The clock is the monitor's: an init() that blocks the loop does not stop it, and the process's absences do.
#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/sched/node/node_host.hpp>
#include <horus/sched/node/node_record.hpp>

namespace horus::HORUS_ABI::detail {

void NodeRecord::went_away() noexcept {
  if (away_ || !settings.critical || !restarts_.config().enabled || !restarts_.config().for_ever) return;
  away_ = true;
  calm_ = false;
  begin_away(horus::now_ns());
}

void NodeRecord::came_back() noexcept {
  away_ = false;
  vitals.away_ns.store(0, std::memory_order_relaxed);
  vitals.away_step.store(AwayStep::none, std::memory_order_relaxed);
}

void NodeRecord::begin_away(std::int64_t now) noexcept {
  if (!away_ || held()) return;
  vitals.away_step.store(AwayStep::none, std::memory_order_relaxed);
  vitals.away_ns.store(now, std::memory_order_release);
  host->watch_now();
}

void NodeRecord::stay_away() noexcept {
  if (!vitals.take_away_step()) return;
  log_error(
      fmt::format("{}: not back after {} ms of restarts, and as it is critical: emergency stop; the restarts "
                  "go on after its reset{}",
                  node_name_, vitals.away_limit_ns() / 1'000'000,
                  account_.last_error.empty() ? "" : " (" + account_.last_error + ")"));
  host->emergency_stop();
}

}  // namespace horus::HORUS_ABI::detail
