// SPDX-License-Identifier: Apache-2.0
// What a power cut leaves of a simulated disk, and what a scenario puts there.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/inotify.h>

#include <horus/sim/files/file_system.hpp>

namespace horus::HORUS_ABI::sim::detail {

// --- Durability -------------------------------------------------------------------------------------------------------

void FileSystem::sync(Inode& inode) {
  inode.durable_data = inode.data;
  inode.durable_entries = inode.entries;
}

void FileSystem::cut_power(Random& random) { cut_power(*root_, random); }

void FileSystem::cut_power(Inode& inode, Random& random) {
  if (inode.is_file()) {
    // Each page that was written and not synced has reached the disk or not; so has the file's length.
    const Contents& old = inode.durable_data;
    Contents left = inode.data;
    for (const std::uint64_t page : Contents::differing(inode.data, old)) {
      const bool written = random.chance(1, 2);
      if (!written) left.take_page(page, old);
    }
    const bool resized = random.chance(1, 2);
    if (!resized) left.resize(std::min(left.size(), old.size()));
    inode.data = left;
    inode.durable_data = std::move(left);
    return;
  }
  if (!inode.is_directory()) return;
  // Each name that was made, replaced or removed and not synced is there or not.
  auto left = inode.durable_entries;
  for (const auto& [name, child] : inode.entries) {
    const auto before = inode.durable_entries.find(name);
    if (before != inode.durable_entries.end() && before->second == child) continue;
    const bool written = random.chance(1, 2);
    if (written) left[name] = child;
  }
  for (const auto& [name, child] : inode.durable_entries) {
    if (inode.entries.contains(name)) continue;
    const bool removed = random.chance(1, 2);
    if (removed) left.erase(name);
  }
  inode.entries = left;
  inode.durable_entries = std::move(left);
  for (const auto& [name, child] : inode.entries) cut_power(*child, random);
}

// --- For scenarios ----------------------------------------------------------------------------------------------------

std::optional<std::string> FileSystem::contents(std::string_view path) {
  Place place;
  if (walk(nullptr, path, true, place) < 0 || !place.inode || !place.inode->is_file()) return std::nullopt;
  return place.inode->data.text();
}

int FileSystem::put(std::string_view path, std::string_view data) {
  for (std::size_t slash = path.find('/', 1); slash != std::string_view::npos;
       slash = path.find('/', slash + 1)) {
    const int result = make_directory(path.substr(0, slash), 0755, 0);
    if (result < 0 && result != -EEXIST) return result;
  }
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  if (!place.inode) {
    place.inode = make(S_IFREG | 0644, 0);
    place.inode->links = 1;
    enter(place, place.inode);
  }
  if (!place.inode->is_file()) return -EISDIR;
  place.inode->data = Contents(data);
  tell_of(*place.inode, IN_MODIFY);
  tell_of(*place.inode, IN_CLOSE_WRITE);
  const auto settle = [](auto& self, Inode& inode) -> void {
    sync(inode);
    for (const auto& [name, child] : inode.entries) self(self, *child);
  };
  settle(settle, *root_);
  return 0;
}

}  // namespace horus::HORUS_ABI::sim::detail
