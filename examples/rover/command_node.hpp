// SPDX-License-Identifier: Apache-2.0
// Commands over UDP, on this machine alone: a datagram is a command, the answer goes back to the sender.
// Event-driven: a tick is a command.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <horus/horus.hpp>
#include <horus/io/udp.hpp>

#include "orders.hpp"
#include "world.hpp"

namespace rover {

class CommandNode : public horus::Node {
 public:
  /// Port 0: the kernel chooses; `world.command_address` tells.
  CommandNode(World& world, uint16_t port) : Node("command"), world_(world), port_(port) {}

  horus::Task<> init() override;
  horus::Task<> tick() override;

 private:
  World& world_;
  uint16_t port_;
  horus::io::UdpSocket socket_;
  std::array<std::byte, kLongestCommand + 1>
      buffer_;  // one more, so that a longer one is seen to be too long
};

}  // namespace rover
