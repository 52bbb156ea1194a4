// SPDX-License-Identifier: Apache-2.0
// What a program says of one node, checked at once.
#include <fmt/format.h>

#include <horus/sched/data/check_settings.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/refusals.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {

using detail::check_deadline;
using detail::check_watchdog;
using detail::refuse;

NodeBuilder& NodeBuilder::rate(Rate rate) {
  scheduler_.check_not_running("rate");
  if (!(rate.hz > 0 && rate.hz <= NodeSettings::kMaxRate_hz)) {
    throw Error(EINVAL, "rate",
                fmt::format("{} Hz of node \"{}\": above 0 up to 100000", rate.hz, record_.node_name()));
  }
  record_.settings.rate = rate;
  return *this;
}
NodeBuilder& NodeBuilder::priority(int priority) {
  scheduler_.check_not_running("priority");
  if (priority < 0 || priority > NodeSettings::kMaxPriority)
    throw refuse("priority", record_,
                 fmt::format("{}: 0 (first) to {}", priority, NodeSettings::kMaxPriority));
  record_.settings.priority = priority;
  return *this;
}
NodeBuilder& NodeBuilder::name(std::string name) {
  scheduler_.check_not_running("name");
  scheduler_.check_name(record_, name);
  record_.node->explicitly_named_ = true;
  record_.node->name_ = std::move(name);
  record_.set_name(record_.node->name_);
  return *this;
}
NodeBuilder& NodeBuilder::deadline(Duration deadline) {
  scheduler_.check_not_running("deadline");
  check_deadline("deadline", record_, deadline).or_throw();
  record_.settings.deadline = deadline;
  return *this;
}
NodeBuilder& NodeBuilder::budget(Duration budget) {
  scheduler_.check_not_running("budget");
  check_deadline("budget", record_, budget).or_throw();
  record_.settings.budget = budget;
  return *this;
}
NodeBuilder& NodeBuilder::on_miss(Miss reaction) {
  scheduler_.check_not_running("on_miss");
  if (reaction == Miss::cancel && record_.plain_node != nullptr)
    throw refuse("on_miss", record_, detail::kPlainNodeCannotCancel);
  record_.settings.on_miss = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::on_budget(Miss reaction) {
  scheduler_.check_not_running("on_budget");
  if (reaction == Miss::cancel)
    throw refuse("on_budget", record_,
                 "cancel needs a suspension point: use another reaction, or a deadline");
  record_.settings.on_budget = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::overrun(Overrun reaction) {
  scheduler_.check_not_running("overrun");
  record_.settings.overrun = reaction;
  return *this;
}
NodeBuilder& NodeBuilder::watchdog(Duration timeout) {
  scheduler_.check_not_running("watchdog");
  if (timeout < NodeSettings::kLeastWatchdog || timeout > NodeSettings::kMostWatchdog)
    check_watchdog(record_, timeout).or_throw();
  record_.settings.watchdog_enabled = true;
  record_.settings.watchdog = timeout;
  return *this;
}
NodeBuilder& NodeBuilder::critical(bool critical) {
  scheduler_.check_not_running("critical");
  record_.settings.critical = critical;
  return *this;
}
NodeBuilder& NodeBuilder::keep_in_emergency(bool keep) {
  record_.settings.keep_in_emergency = keep;
  return *this;
}
NodeBuilder& NodeBuilder::miss_is_failure(bool counts) {
  scheduler_.check_not_running("miss_is_failure");
  record_.settings.miss_is_failure = counts;
  return *this;
}
NodeBuilder& NodeBuilder::circuit_breaker(bool enabled) {
  scheduler_.check_not_running("circuit_breaker");
  record_.settings.circuit_breaker = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::auto_restart(bool enabled) {
  scheduler_.check_not_running("auto_restart");
  record_.settings.auto_restart = enabled;
  return *this;
}
NodeBuilder& NodeBuilder::restart(const RestartConfig& config) {
  if (!(config.jitter >= 0 && config.jitter <= 0.5) || config.first_delay < Duration::zero() ||
      config.longest_delay < Duration::zero() || config.within < Duration::zero())
    throw refuse("restart", record_, "delays of 0 or more, and a jitter of 0 to 0.5");
  record_.settings.restart = config;
  record_.settings.auto_restart = true;
  return *this;
}
NodeBuilder& NodeBuilder::executor(std::string name) {
  scheduler_.check_not_running("executor");
  record_.settings.executor = std::move(name);
  return *this;
}
NodeBuilder& NodeBuilder::logging(bool enabled) {
  scheduler_.check_not_running("logging");
  record_.settings.logging_enabled = enabled;
  return *this;
}
NodeBase& NodeBuilder::node() const noexcept { return *record_.node; }

}  // namespace horus::HORUS_ABI
