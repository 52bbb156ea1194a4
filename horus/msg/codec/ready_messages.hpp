// SPDX-License-Identifier: Apache-2.0
// Ready messages whose fields ROS has in another shape: JointState, LaserScan, NavSatFix, Image, PointCloud. Pure functions;
// any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <span>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/codec/cdr_stream.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI::msg {

struct ReadyMessage {
  const Description& (*described)();  ///< as it lies in memory
  const Description& (*schema)();     ///< as ROS has it: for names and types alone
  void (*write)(CdrWriter& to, const std::byte* head, std::span<const std::byte> tail);
  bool (*read)(CdrReader& from, std::byte* head, std::vector<std::byte>& tail);  ///< as CdrPlan::read
};

/// Null: the message has its own fields in ROS, too.
HORUS_API const ReadyMessage* find_ready_message(const Description& description);

}  // namespace horus::HORUS_ABI::msg
