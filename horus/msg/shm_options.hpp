// SPDX-License-Identifier: Apache-2.0
// Settings of a hub that shares memory with others on this machine. Plain values; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI {

/// Settings of Hub::shm. `ShmOptions().with_directory("/run/rover")`
struct ShmOptions {
  ShmOptions() {}
  /// The directory of the hubs' sockets. Empty: $HORUS_RUNTIME_DIR, else $XDG_RUNTIME_DIR/horus, else
  /// /tmp/horus-<uid>. It is made when it is missing, and must belong to this user alone.
  std::string directory;
  Duration handshake_limit = std::chrono::seconds(2);
  /// A process that does not answer for this long (it is stopped, or its thread is busy) no longer delays
  /// send_wait(). Until it answers again, its messages are dropped by its own overflow policy.
  Duration idle_limit = std::chrono::seconds(15);
  std::size_t max_peers = 256;  ///< processes connected at a time

  ShmOptions& with_directory(std::string path) & { return directory = std::move(path), *this; }
  ShmOptions& with_idle_limit(Duration limit) & { return idle_limit = limit, *this; }
  [[nodiscard]] ShmOptions with_directory(std::string path) && {
    return std::move(with_directory(std::move(path)));
  }
  [[nodiscard]] ShmOptions with_idle_limit(Duration limit) && { return std::move(with_idle_limit(limit)); }
};

}  // namespace horus::HORUS_ABI
