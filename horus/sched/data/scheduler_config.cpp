// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/scheduler_config.hpp>

#include <cerrno>

namespace horus::HORUS_ABI {

using namespace literals;

SchedulerConfig SchedulerConfig::standard() { return {}; }

SchedulerConfig SchedulerConfig::high_performance() {
  SchedulerConfig config;
  config.preset = "high_performance";
  config.tick_rate = 200_hz;
  config.reactor.submission_entries = 1024;
  config.reactor.resume_budget = 1024;
  return config;
}

SchedulerConfig SchedulerConfig::low_latency() {
  SchedulerConfig config;
  config.preset = "low_latency";
  config.tick_rate = 500_hz;
  config.timer_slack = 1ns;
  config.spin = 120us;
  return config;
}

SchedulerConfig SchedulerConfig::power_saving() {
  SchedulerConfig config;
  config.preset = "power_saving";
  config.tick_rate = 30_hz;
  config.timer_slack = 5ms;
  return config;
}

SchedulerConfig SchedulerConfig::realtime() {
  SchedulerConfig config;
  config.preset = "realtime";
  config.tick_rate = 1000_hz;
  config.timer_slack = 1ns;
  config.spin = 120us;
  config.lock_memory = true;
  config.fifo_priority = 50;
  return config;
}

Result<SchedulerConfig> SchedulerConfig::named(const std::string& preset) {
  if (preset == "standard") return standard();
  if (preset == "high_performance") return high_performance();
  if (preset == "low_latency") return low_latency();
  if (preset == "power_saving") return power_saving();
  if (preset == "realtime") return realtime();
  return Error(EINVAL, "preset",
               preset + " (there are standard, high_performance, low_latency, power_saving, realtime)");
}

}  // namespace horus::HORUS_ABI
