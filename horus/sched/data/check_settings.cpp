// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/data/check_settings.hpp>

#include <cerrno>

#include <fmt/format.h>

#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

std::string in_ms(Duration duration) {
  const double ms = static_cast<double>(duration.count()) / 1e6;
  return ms < 100 ? fmt::format("{:.3g} ms", ms) : fmt::format("{:.0f} ms", ms);
}

std::string about(const std::string& name, const std::string& why, const std::string& source) {
  return fmt::format("node \"{}\" ({}){}", name, why, source.empty() ? "" : ", configured in " + source);
}

}  // namespace

const char* const kPlainNodeCannotCancel =
    "on_miss cannot be cancel: a plain node's tick has no suspension point; use another reaction, or a "
    "coroutine node";

Result<> check_settings(const SchedulerConfig& config) {
  const auto refuse = [](const std::string& what) { return Error(EINVAL, "configure the scheduler", what); };
  if (!(config.tick_rate.hz > 0 && config.tick_rate.hz <= NodeSettings::kMaxRate_hz))
    return refuse(fmt::format("(tick_rate {} Hz: above 0 up to 100000)", config.tick_rate.hz));
  if (config.watchdog_timeout < NodeSettings::kLeastWatchdog ||
      config.watchdog_timeout > NodeSettings::kMostWatchdog)
    return refuse(fmt::format("(watchdog_timeout {}: 10 to 60000 ms)", in_ms(config.watchdog_timeout)));
  if (config.fifo_priority < 0 || config.fifo_priority > 99)
    return refuse(fmt::format("(fifo_priority {}: 0 to 99)", config.fifo_priority));
  for (const auto& [what, duration] :
       {std::pair{"spin", config.spin}, std::pair{"finish_limit", config.finish_limit},
        std::pair{"shutdown_limit", config.shutdown_limit},
        std::pair{"timer_slack", config.timer_slack.value_or(Duration::zero())}}) {
    if (duration < Duration::zero())
      return refuse(fmt::format("({} {}: not below 0)", what, in_ms(duration)));
  }
  return {};
}

Result<> check_watchdog_period(const std::string& name, Rate rate, Duration timeout,
                               const std::string& source) {
  if (rate.hz <= 0 || timeout >= 3 * rate.period()) return {};
  const std::string why = fmt::format("its watchdog of {} is shorter than 3 periods of {}: set at least {}",
                                      in_ms(timeout), in_ms(rate.period()), in_ms(3 * rate.period()));
  return Error(EINVAL, "start", about(name, why, source));
}

Result<> check_settings(const std::string& name, const NodeSettings& settings, bool plain,
                        const std::string& source) {
  const auto refuse = [&](const std::string& why) {
    return Error(EINVAL, "start", about(name, why, source));
  };
  if (settings.watchdog_enabled.value_or(false)) {
    const Duration timeout = settings.watchdog.value_or(NodeSettings::kDefaultWatchdog);
    if (auto sound = check_watchdog_period(name, settings.rate, timeout, source); !sound) return sound;
  }
  if (settings.on_budget == Miss::cancel)
    return refuse(
        "on_budget cannot be cancel, which needs a suspension point: use another reaction, or a deadline");
  if (plain && settings.on_miss == Miss::cancel) return refuse(kPlainNodeCannotCancel);
  if (settings.rate.hz > 0 && settings.deadline > settings.rate.period()) {
    log_warning(about(
        name,
        fmt::format("its deadline of {} is beyond its period of {}: the next tick is due before this one "
                    "counts as late",
                    in_ms(settings.deadline), in_ms(settings.rate.period())),
        source));
  }
  if (settings.deadline > Duration::zero() && settings.budget > settings.deadline) {
    log_warning(about(
        name,
        fmt::format("its budget of {} is beyond its deadline of {}: the deadline is always missed first",
                    in_ms(settings.budget), in_ms(settings.deadline)),
        source));
  }
  return {};
}

}  // namespace horus::HORUS_ABI::detail
