// SPDX-License-Identifier: Apache-2.0
#include "faulty_nodes.hpp"

#include <chrono>
#include <cmath>
#include <stdexcept>

#include <horus/base/log.hpp>

namespace rover {

using horus::Task;

Task<> FaultyReceiver::tick() {
  if (horus::now_ns() < faults_.receiver_silent_until_ns) co_return;
  auto telling = ReceiverNode::tick();
  co_await telling;
}

Task<> FaultyHealth::init() {
  faults_.health_is_broken = false;
  auto initialising = HealthNode::init();
  co_await initialising;
}

Task<> FaultyHealth::tick() {
  if (faults_.health_is_broken) {
    faults_.begins(FaultKind::kHealthThrows, horus::now_ns());
    throw std::out_of_range("thermometer 7 of 4");
  }
  auto looking = HealthNode::tick();
  co_await looking;
}

void FaultyLog::spin() {
  const int64_t until = horus::now_ns() + kSpin.count();
  volatile double sum = 0;
  while (horus::now_ns() < until) sum = std::sqrt(sum + 1);
}

Task<> FaultyLog::tick() {
  if (faults_.log_spins) {
    faults_.log_spins = false;
    faults_.begins(FaultKind::kLogSpins, horus::now_ns());
    spin();
  }
  auto logging = LogNode::tick();
  co_await logging;
}

Task<> FaultNode::init() {
  start_ns_ = horus::now_ns();
  operator_ = spawn(reset_stops());
  co_return;
}

// A person who has looked what was the matter.
Task<> FaultNode::reset_stops() {
  while (true) {
    co_await horus::sleep(std::chrono::milliseconds(50));
    if (!scheduler_.emergency_stopped()) continue;
    co_await horus::sleep(std::chrono::milliseconds(400));
    scheduler_.reset_emergency_stop();
    faults_.stop_reset_ns = horus::now_ns();
    horus::log_info("the emergency stop was reset");
  }
}

Task<> FaultNode::tick() {
  if (next_ == faults_.plan.size()) {
    co_await horus::sleep(std::chrono::hours(24));  // until the end
    co_return;
  }
  const Fault& fault = faults_.plan[next_++];
  co_await horus::sleep_until(horus::TimePoint(horus::Duration(start_ns_) + fault.at));
  strike(fault.kind);
}

void FaultNode::strike(FaultKind kind) {
  const int64_t now = horus::now_ns();
  switch (kind) {
    case FaultKind::kCameraKilled:
      faults_.begins(kind, now);
      camera_.kill_program();
      break;
    case FaultKind::kHealthThrows: faults_.health_is_broken = true; break;
    case FaultKind::kGpsSilent:
      faults_.begins(kind, now);
      faults_.receiver_silent_until_ns = now + silence_in(seconds_).count();
      break;
    case FaultKind::kLogSpins: faults_.log_spins = true; break;
  }
}

}  // namespace rover
