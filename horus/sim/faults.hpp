// SPDX-License-Identifier: Apache-2.0
// Which small faults a simulated world shows all the time. Plain data.
#pragma once

#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/sim/random.hpp>

namespace horus::sim {

/// How often each of these has happened in a run. Plain data.
struct Oddities {
  std::uint64_t short_transfers = 0;
  std::uint64_t early_returns = 0;
  std::uint64_t mixed_batches = 0;
  std::uint64_t late_completions = 0;
  std::uint64_t late_cancels = 0;
  std::uint64_t ended_multishots = 0;
  std::uint64_t missing_buffers = 0;
  std::uint64_t mixed_turns = 0;
};

/// How often the kernel and the network are unkind, in times per thousand, and how long things take.
///
/// Semantics: everything here is allowed by the manual pages at any time, so a correct program must bear all of it.
/// Defaults: a kind world.
/// Example: `world.faults() = horus::sim::Faults::swarm(world.random());`
struct Faults {
  unsigned short_transfer = 0;      ///< a read or write moves fewer bytes than it could
  unsigned early_return = 0;        ///< an enter returns with nothing, or with EINTR, EAGAIN or EBUSY
  unsigned datagram_loss = 0;       ///< a datagram between two hosts vanishes
  unsigned datagram_duplicate = 0;  ///< one arrives twice
  unsigned datagram_late = 0;       ///< one takes a hundred times as long, so that later ones overtake it
  unsigned slow_segment = 0;        ///< a piece of a stream is lost once and sent again 200 ms later
  unsigned disk_error = 0;          ///< a read, write or fsync of a file fails with EIO
  unsigned disk_full = 0;           ///< a write to a file fails with ENOSPC
  unsigned spawn_failure = 0;       ///< a child process cannot be started: EAGAIN
  unsigned slow_start = 0;          ///< a child that was started takes up to 2 s before its program runs
  unsigned child_death = 0;         ///< a child is killed within 10 s after its start
  // What the seam leaves unspecified on purpose (horus/io/seam/ring.hpp).
  unsigned completions_mixed = 0;  ///< completions of different operations come in another order
  unsigned completion_late = 0;    ///< one comes up to a millisecond after the others
  unsigned cancel_late = 0;        ///< data that lies there wins against a cancellation
  unsigned multishot_end = 0;      ///< a multishot ends with a completion that it could have gone on after
  unsigned no_buffers = 0;         ///< a receive finds no provided buffer, though there are some
  unsigned ready_mixed = 0;        ///< of the tasks that are ready at the same time another one goes first
  Distribution latency = Distribution::uniform(std::chrono::microseconds(100), std::chrono::milliseconds(1));
  Distribution local_latency =
      Distribution::uniform(std::chrono::microseconds(5), std::chrono::microseconds(30));
  Distribution offload = Distribution::uniform(std::chrono::microseconds(20), std::chrono::milliseconds(2));
  Distribution disk = Distribution::uniform(std::chrono::microseconds(20), std::chrono::microseconds(500));
  /// CPU time of one turn of a process's loop that resumed something.
  Duration turn_cost = std::chrono::microseconds(1);
  /// CPU time of each task that such a turn resumed.
  Duration resume_cost{0};
  /// CPU time of each KiB that a process reads or writes, at least of one: what it does with the bytes.
  Duration kib_cost{0};

  /// A random subset of all of them at random rates: a bug that one fault hides shows where that fault is off.
  [[nodiscard]] HORUS_API static Faults swarm(Random& random);
  /// A random subset of what every backend may do at any time: programs cannot see these, except as delays.
  [[nodiscard]] HORUS_API static Faults unspecified(Random& random);
  /// The same world without faults; times stay.
  [[nodiscard]] Faults healed() const noexcept {
    Faults kind;
    kind.latency = latency;
    kind.local_latency = local_latency;
    kind.offload = offload;
    kind.disk = disk;
    kind.turn_cost = turn_cost;
    kind.resume_cost = resume_cost;
    kind.kib_cost = kib_cost;
    return kind;
  }
};

}  // namespace horus::sim
