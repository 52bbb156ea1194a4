// SPDX-License-Identifier: Apache-2.0
// The nodes of a drive with --faults that misbehave, each the ordinary one with a fault, and the one that strikes.
#pragma once

#include <cstdint>

#include "camera_node.hpp"
#include "health_node.hpp"
#include "log_node.hpp"
#include "receiver_node.hpp"
#include "world.hpp"

namespace rover {

/// A receiver that keeps its connections and says nothing for a while.
class FaultyReceiver : public ReceiverNode {
 public:
  explicit FaultyReceiver(World& world) : ReceiverNode(world), faults_(world.faults) {}
  horus::Task<> tick() override;

 private:
  Faults& faults_;
};

/// A bug that is there until the node begins anew.
class FaultyHealth : public HealthNode {
 public:
  explicit FaultyHealth(World& world) : HealthNode(world), faults_(world.faults) {}
  horus::Task<> init() override;
  horus::Task<> tick() override;

 private:
  Faults& faults_;
};

/// Computes for kSpin once, and holds up everybody on its thread.
class FaultyLog : public LogNode {
 public:
  explicit FaultyLog(World& world) : LogNode(world), faults_(world.faults) {}
  horus::Task<> tick() override;
  /// A function of its own, so that the stack which the safety monitor reports has a name for it.
  [[gnu::noinline]] void spin();

 private:
  Faults& faults_;
};

/// Strikes by the plan: a tick is a fault.
class FaultNode : public horus::Node {
 public:
  FaultNode(horus::Scheduler& scheduler, World& world, CameraNode& camera, double seconds)
      : Node("faults"), scheduler_(scheduler), faults_(world.faults), camera_(camera), seconds_(seconds) {}
  horus::Task<> init() override;
  horus::Task<> tick() override;

 private:
  void strike(FaultKind kind);
  horus::Task<> reset_stops();

  horus::Scheduler& scheduler_;
  Faults& faults_;
  CameraNode& camera_;
  double seconds_;
  int64_t start_ns_ = 0;
  size_t next_ = 0;
  horus::Spawned<void> operator_;
};

}  // namespace rover
