// SPDX-License-Identifier: Apache-2.0
// A GPS receiver of our own, for those who have none at hand: a TCP server that tells ten times a second where the
// simulated rover is. It stands for the outside world, and shows accepting and serving.
#pragma once

#include <vector>

#include <horus/horus.hpp>
#include <horus/io/tcp.hpp>

#include "world.hpp"

namespace rover {

class ReceiverNode : public horus::Node {
 public:
  /// Tells its address in `world.gps.source`; add it before the GPS node.
  explicit ReceiverNode(World& world) : Node("receiver"), world_(world) {}

  horus::Task<> init() override;
  horus::Task<> tick() override;

 private:
  static constexpr size_t kMostClients = 8;

  horus::Task<> accept_all();

  World& world_;
  horus::io::TcpListener listener_;
  std::vector<horus::io::TcpStream> clients_;
  horus::Spawned<void> accepting_;
};

}  // namespace rover
