// SPDX-License-Identifier: Apache-2.0
// The small faults that a simulated world injects all the time. Plain data.
#pragma once

#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/sim/random.hpp>

namespace horus::HORUS_ABI::sim {

/// How often each of these events has happened in a run. Plain data.
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

/// How often the kernel and the network misbehave, in times per thousand, and how long things take.
///
/// Semantics: the manual pages allow all of this at any time, so a correct program must handle it. Defaults: no
/// faults.
/// Example: `world.faults() = horus::sim::Faults::swarm(world.random());`
struct Faults {
  unsigned short_transfer = 0;      ///< a read or write moves fewer bytes than it could
  unsigned early_return = 0;        ///< an enter returns with nothing, or with EINTR, EAGAIN or EBUSY
  unsigned datagram_loss = 0;       ///< a datagram between two hosts vanishes
  unsigned datagram_duplicate = 0;  ///< a datagram arrives twice
  unsigned datagram_late = 0;  ///< a datagram takes a hundred times as long, so that later ones overtake it
  unsigned slow_segment = 0;   ///< a piece of a stream is lost once and sent again 200 ms later
  unsigned disk_error = 0;     ///< a read, write or fsync of a file fails with EIO
  unsigned disk_full = 0;      ///< a write to a file fails with ENOSPC
  unsigned spawn_failure = 0;  ///< a child process cannot be started: EAGAIN
  unsigned slow_start = 0;     ///< a child that was started takes up to 2 s before its program runs
  unsigned child_death = 0;    ///< a child is killed within 10 s after its start
  // What the seam leaves unspecified on purpose (horus/io/seam/ring.hpp).
  unsigned completions_mixed = 0;  ///< completions of different operations arrive in another order
  unsigned completion_late = 0;    ///< a completion arrives up to a millisecond after the others
  unsigned cancel_late = 0;        ///< data that has already arrived wins over a cancellation
  unsigned multishot_end = 0;      ///< a multishot operation ends although it could have continued
  unsigned no_buffers = 0;         ///< a receive finds no provided buffer, although there are some
  unsigned ready_mixed = 0;        ///< among tasks that are ready at the same time, another one runs first
  Distribution latency = Distribution::uniform(std::chrono::microseconds(100), std::chrono::milliseconds(1));
  Distribution local_latency =
      Distribution::uniform(std::chrono::microseconds(5), std::chrono::microseconds(30));
  Distribution offload = Distribution::uniform(std::chrono::microseconds(20), std::chrono::milliseconds(2));
  Distribution disk = Distribution::uniform(std::chrono::microseconds(20), std::chrono::microseconds(500));
  /// CPU time of one turn of a process's loop, when it resumed something.
  Duration turn_cost = std::chrono::microseconds(1);
  /// CPU time of each task that was resumed in such a turn.
  Duration resume_cost{0};
  /// CPU time for each KiB that a process reads or writes, and at least for one KiB: the work that it does on the
  /// bytes.
  Duration kib_cost{0};

  /// A random subset of all faults at random rates. A bug that one fault hides becomes visible in a run without that
  /// fault.
  [[nodiscard]] HORUS_API static Faults swarm(Random& random);
  /// A random subset of the behaviour that every backend may show at any time: programs notice it only as delays.
  [[nodiscard]] HORUS_API static Faults unspecified(Random& random);
  /// The same world without faults; the times stay.
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

}  // namespace horus::HORUS_ABI::sim
