// SPDX-License-Identifier: Apache-2.0
// Which small faults a simulated world shows all the time. Plain data.
#pragma once

#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/sim/random.hpp>

namespace horus::sim {

/// How often the kernel and the network are unkind, in times per thousand, and how long things take.
///
/// Semantics: everything here is allowed by the manual pages at any time, so a correct program must bear all of it.
/// Defaults: a kind world.
/// Example: `world.faults() = horus::sim::Faults::swarm(world.random());`
struct Faults {
  unsigned short_transfer = 0;      ///< a read or write moves fewer bytes than it could
  unsigned early_return = 0;        ///< a wait returns with nothing, or with EINTR
  unsigned datagram_loss = 0;       ///< a datagram between two hosts vanishes
  unsigned datagram_duplicate = 0;  ///< one arrives twice
  unsigned datagram_late = 0;       ///< one takes a hundred times as long, so that later ones overtake it
  unsigned slow_segment = 0;        ///< a piece of a stream is lost once and sent again 200 ms later
  unsigned disk_error = 0;          ///< a read, write or fsync of a file fails with EIO
  unsigned disk_full = 0;           ///< a write to a file fails with ENOSPC
  unsigned spawn_failure = 0;       ///< a child process cannot be started: EAGAIN
  unsigned slow_start = 0;          ///< a child that was started takes up to 2 s before its program runs
  unsigned child_death = 0;         ///< a child is killed within 10 s after its start
  Distribution latency = Distribution::uniform(std::chrono::microseconds(100), std::chrono::milliseconds(1));
  Distribution local_latency =
      Distribution::uniform(std::chrono::microseconds(5), std::chrono::microseconds(30));
  Distribution offload = Distribution::uniform(std::chrono::microseconds(20), std::chrono::milliseconds(2));
  Distribution disk = Distribution::uniform(std::chrono::microseconds(20), std::chrono::microseconds(500));
  /// CPU time of one turn of a process's loop that resumed something.
  Duration turn_cost = std::chrono::microseconds(1);

  /// A random subset of all of them at random rates: a bug that one fault hides shows where that fault is off.
  [[nodiscard]] HORUS_API static Faults swarm(Random& random);
  /// The same world without faults; times stay.
  [[nodiscard]] Faults healed() const noexcept {
    Faults kind;
    kind.latency = latency;
    kind.local_latency = local_latency;
    kind.offload = offload;
    kind.disk = disk;
    kind.turn_cost = turn_cost;
    return kind;
  }
};

}  // namespace horus::sim
