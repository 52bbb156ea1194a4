// SPDX-License-Identifier: Apache-2.0
// The messages that Horus brings, and of those that ROS has in another shape, how they are written and read: JointState,
// LaserScan, NavSatFix, Image, PointCloud. Pure functions; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <span>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/codec/cdr_stream.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI::msg {

/// Every message of horus/msg/messages.hpp and more_messages.hpp that ROS has under a name of its own, and text.
HORUS_API std::span<const Description* const> ready_messages();
/// Whether a message of ROS that has this one as a field has the same bytes there as Horus has here.
HORUS_API bool fits_as_field(const Description& ready);

struct ReadyMessage {
  const Description& (*described)();  ///< as it lies in memory
  const Description& (*schema)();     ///< as ROS has it: for names and types alone
  void (*write)(CdrWriter& to, const std::byte* head, std::span<const std::byte> tail);
  bool (*read)(CdrReader& from, std::byte* head, std::vector<std::byte>& tail);  ///< as CdrPlan::read
};

/// Null: the message has its own fields in ROS, too.
HORUS_API const ReadyMessage* find_ready_message(const Description& description);

}  // namespace horus::HORUS_ABI::msg
