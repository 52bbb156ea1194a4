// SPDX-License-Identifier: Apache-2.0
// What a scheduler refuses of a node's settings, whoever asks: a builder, or somebody during the run. Internal; any thread.
#pragma once

#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::detail {

class NodeRecord;

/// EINVAL, with the node's name.
Error refuse(const char* what, const NodeRecord& record, const std::string& why);
Result<> check_deadline(const char* what, const NodeRecord& record, Duration deadline);
Result<> check_watchdog(const NodeRecord& record, Duration timeout);

}  // namespace horus::HORUS_ABI::detail
