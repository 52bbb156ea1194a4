// SPDX-License-Identifier: Apache-2.0
// inotify of the simulated kernel: what happens to folders and to their entries. It knows IN_CREATE, IN_MOVED_FROM, IN_MOVED_TO,
// IN_DELETE, IN_MODIFY, IN_CLOSE_WRITE, IN_ATTRIB, IN_MOVE_SELF and IN_DELETE_SELF; what was unlinked is heard of no more
// (IN_EXCL_UNLINK). One thread, the world's. Descriptors share it; folders only know of it.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <horus/sim/base/objects.hpp>
#include <horus/sim/files/file_system.hpp>

namespace horus::HORUS_ABI::sim::detail {

class FolderWatch final : public Object {
 public:
  using Object::Object;
  [[nodiscard]] Kind kind() const noexcept override { return Kind::counter; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;

  /// Gives the watch's number: of a folder that is watched already the one that it has.
  int add(Inode& folder, std::uint32_t events);
  /// inotify_rm_watch: 0, or -EINVAL for a number that there is not.
  int remove(int number);
  void happened(const Inode& folder, std::uint32_t event, std::string_view name, std::uint32_t cookie);

 private:
  struct Watched {
    std::uint64_t inode;
    int number;
    std::uint32_t events;
  };
  void put(int number, std::uint32_t event, std::string_view name, std::uint32_t cookie);

  std::vector<Watched> watched_;
  std::deque<std::string> events_;  // as read(2) gives them
  int last_number_ = 0;
};

}  // namespace horus::HORUS_ABI::sim::detail
