// SPDX-License-Identifier: Apache-2.0
// The door of a process: a Unix socket through which tools look in, and the thread that answers them. It uses no loop of the
// program, so it answers while these are blocked. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <memory>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/door/doorstep.hpp>
#include <horus/msg/door/visitor.hpp>

namespace horus::HORUS_ABI::msg::door {

/// The thread's; the deepest text needs a part of it.
inline constexpr std::size_t kStackBytes = std::size_t{256} * 1024;

class HORUS_API Door {
 public:
  /// Binds `<folder>/<pid>-<name>.sock` and answers there. `wanted`: the hubs' directory; empty: the first of
  /// candidate_directories() where it can be done. Errors: ENAMETOOLONG with the remedy; those of mkdir(2), socket(2),
  /// bind(2) and pthread_create(3).
  static Result<std::unique_ptr<Door>> open(const std::string& wanted, const std::string& name,
                                            const DoorLimits& limits = {});
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  /// Removes the socket, and waits a moment for the thread.
  ~Door();

  [[nodiscard]] const std::string& path() const noexcept;

 private:
  struct Room;
  explicit Door(std::shared_ptr<Room> room) noexcept;
  static void before_fork() noexcept;
  static void parent_after_fork() noexcept;
  static void child_after_fork() noexcept;
  std::shared_ptr<Room> room_;
};

/// The door of this process is opened, if that has not been tried yet; a problem is one line in the log. Where the calling
/// thread is in a simulated world, nothing happens.
HORUS_API void open_once() noexcept;
/// What a configuration says: false closes the door of this process, and it stays closed. HORUS_INSPECT=0 or 1 in the
/// environment wins.
HORUS_API void permit(bool permitted) noexcept;
/// Its path; empty when it is closed.
HORUS_API std::string path_of_process();

}  // namespace horus::HORUS_ABI::msg::door
