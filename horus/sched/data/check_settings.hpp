// SPDX-License-Identifier: Apache-2.0
// Settings that contradict each other, whoever made them: the program or a configuration file. Any thread. Internal.
#pragma once

#include <string>

#include <horus/base/result.hpp>
#include <horus/sched/node_settings.hpp>
#include <horus/sched/scheduler_config.hpp>

namespace horus::HORUS_ABI::detail {

/// Errors: EINVAL with the setting and its range.
Result<> check_settings(const SchedulerConfig& config);

/// Of a node as it will run, with what the configuration says about it. What can be meant, but hardly is, is a warning.
/// Errors: EINVAL with the node, the reason, and the place in the configuration file.
Result<> check_settings(const std::string& name, const NodeSettings& settings, bool plain,
                        const std::string& source);

/// What is said about Miss::cancel and a plain node.
extern const char* const kPlainNodeCannotCancel;

/// Errors: EINVAL when a watchdog would bark at a node that is in time.
Result<> check_watchdog_period(const std::string& name, Rate rate, Duration timeout,
                               const std::string& source = {});

}  // namespace horus::HORUS_ABI::detail
