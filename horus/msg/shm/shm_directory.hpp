// SPDX-License-Identifier: Apache-2.0
// The directories in which the hubs of one user find each other, and the sockets in them. Calls that take microseconds on
// a file system in memory; any thread. Internal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/result.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/unix.hpp>

namespace horus::HORUS_ABI::msg {

/// Where the sockets of this user's hubs may be: the one that is wanted; else $HORUS_RUNTIME_DIR; else all of
/// $XDG_RUNTIME_DIR/horus, /run/user/<uid>/horus and /tmp/horus-<uid>, so that a service and a login shell meet. A hub
/// binds in the first that there is, and looks in all.
std::vector<std::string> candidate_directories(const std::string& wanted);
/// Makes it when it is missing. Errors: EPERM for a directory that others may write to; those of mkdir(2).
Result<> prepare_directory(const std::string& directory);
/// The first of the candidates that can be used. Errors: those of the last one.
Result<std::string> runtime_directory(const std::string& wanted);

/// What the names of a hub's sockets begin with: a readable part, and a hash that tells long and odd names apart.
std::string socket_prefix(const std::string& hub);
/// The file name of one hub's socket.
std::string socket_name(const std::string& hub, std::uint64_t instance);
/// The instance in such a name; nothing for other names.
std::optional<std::uint64_t> instance_of(std::string_view name, std::string_view prefix);

/// Our own socket in a directory. It is bound and listens under a temporary name before it gets its own: whoever finds it
/// can connect.
struct BoundSocket {
  io::UnixListener listener;
  std::uint64_t inode = 0;
};
/// Errors: those of listening; ENAMETOOLONG with the remedy.
Result<BoundSocket> bind_socket(const std::string& directory, const std::string& name);
/// False when the file is not there any more, or is another.
bool is_still_there(const std::string& path, std::uint64_t inode);

/// Reads a directory a piece at a time, each well below 2 ms.
class DirectoryReader {
 public:
  /// Errors: those of open(2).
  static Result<DirectoryReader> open(const std::string& directory);
  /// Appends some names; false when there are no more.
  bool read(std::vector<std::string>& names);

 private:
  explicit DirectoryReader(io::Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}
  io::Descriptor descriptor_;
};

/// True for the name of a socket that is not ready yet.
bool is_temporary(std::string_view name);
/// Removes such a file when it has been there for `patience` and nobody listens behind it: its process died meanwhile.
void sweep_temporary(const std::string& path, Duration patience = std::chrono::seconds(60));

}  // namespace horus::HORUS_ABI::msg
