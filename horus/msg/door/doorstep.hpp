// SPDX-License-Identifier: Apache-2.0
// Where doors are found: their folder, their sockets' names, and who may enter. Calls that take microseconds on a file system in
// memory; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/door/visitor.hpp>

namespace horus::HORUS_ABI::msg::door {

/// Our socket, where visitors find it.
struct Doorstep {
  int listener = -1;
  std::string folder;
  std::string path;
};

/// Binds `<pid>-<name>.sock` in the doors' folder, under a temporary name until it listens. A living door of the same name (of
/// another PID namespace) keeps its own: then it is `<pid>-<name>-2.sock`. See Door::open.
Result<Doorstep> bind_door(const std::string& wanted, const std::string& name);
/// The folder of the doors in a directory of hubs.
HORUS_API std::string folder_in(const std::string& hubs_directory);
/// The folders where this user's doors may be, as far as there are any and nobody else may write to them.
std::vector<std::string> folders(const std::string& wanted);
/// The doors in a folder: names of files, at most `kMostDoors`.
std::vector<std::string> doors_in(const std::string& folder);
inline constexpr std::size_t kMostDoors = 4096;

/// `4711` of `4711-rover.sock`; nothing for other names.
HORUS_API std::optional<pid_t> pid_in(std::string_view file);

/// Connects without waiting, to a process of this user or of root; as root, to any. -1 with errno: ECONNREFUSED when nobody listens any more.
int knock(const std::string& path) noexcept;
/// A visitor that runs as this user, or as root.
bool may_enter(int socket) noexcept;
/// Removes the sockets of processes that are dead: nobody listens there.
HORUS_API void sweep(const std::string& folder);

/// What a door tells of this process.
Host host_of_process(const std::string& name);

}  // namespace horus::HORUS_ABI::msg::door
