// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/file_system.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/epoll.h>

namespace horus::sim::detail {
namespace {

constexpr int kMostLinks = 40;                            // on the way of one path, as Linux has it
constexpr std::size_t kPage = 4096;                       // reaches the disk whole or not at all
constexpr std::size_t kMostBytes = std::size_t{1} << 30;  // of one file
constexpr std::size_t kLongestName = 255;

std::size_t size_of(const iovec* parts, std::size_t count) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += parts[i].iov_len;
  return size;
}

}  // namespace

// --- OpenFile ---------------------------------------------------------------------------------------------------------

std::uint32_t OpenFile::ready() const noexcept { return EPOLLIN | EPOLLOUT; }

ssize_t OpenFile::read_at(const iovec* parts, std::size_t count, std::int64_t offset) {
  if ((flags_ & O_ACCMODE) == O_WRONLY) return -EBADF;
  if (inode_->is_directory()) return -EISDIR;
  std::uint64_t at = offset < 0 ? position_ : static_cast<std::uint64_t>(offset);
  std::size_t moved = 0;
  for (std::size_t i = 0; i < count && at < inode_->data.size(); ++i) {
    const std::size_t size = std::min<std::size_t>(parts[i].iov_len, inode_->data.size() - at);
    if (size > 0) std::memcpy(parts[i].iov_base, inode_->data.data() + at, size);
    at += size;
    moved += size;
  }
  if (offset < 0) position_ = at;
  return static_cast<ssize_t>(moved);
}

ssize_t OpenFile::write_at(const iovec* parts, std::size_t count, std::int64_t offset, std::int64_t now_ns) {
  if ((flags_ & O_ACCMODE) == O_RDONLY) return -EBADF;
  const bool append = (flags_ & O_APPEND) != 0;
  std::uint64_t at = offset < 0 ? position_ : static_cast<std::uint64_t>(offset);
  if (append) at = inode_->data.size();
  const std::size_t size = size_of(parts, count);
  if (at > kMostBytes || size > kMostBytes - at) return -EFBIG;
  if (inode_->data.size() < at + size) inode_->data.resize(at + size);
  for (std::size_t i = 0; i < count; ++i) {
    if (parts[i].iov_len > 0) std::memcpy(inode_->data.data() + at, parts[i].iov_base, parts[i].iov_len);
    at += parts[i].iov_len;
  }
  if (offset < 0) position_ = at;
  inode_->changed_ns = now_ns;
  return static_cast<ssize_t>(size);
}

int OpenFile::list(void* buffer, std::size_t size) {
  if (!inode_->is_directory()) return -ENOTDIR;
  auto* out = static_cast<char*>(buffer);
  std::size_t used = 0;
  const auto put = [&](const std::string& name, const Inode& inode) {
    const std::size_t length = (offsetof(dirent64, d_name) + name.size() + 1 + 7) & ~std::size_t{7};
    if (used + length > size) return false;
    auto* entry = reinterpret_cast<dirent64*>(out + used);
    std::memset(entry, 0, length);
    entry->d_ino = inode.number;
    entry->d_reclen = static_cast<unsigned short>(length);
    entry->d_type = static_cast<unsigned char>(IFTODT(inode.mode));
    std::memcpy(entry->d_name, name.c_str(), name.size() + 1);
    used += length;
    return true;
  };
  for (; listing_ < 2; ++listing_) {
    if (!put(listing_ == 0 ? "." : "..", *inode_)) return used > 0 ? static_cast<int>(used) : -EINVAL;
  }
  for (auto entry = inode_->entries.upper_bound(listed_); entry != inode_->entries.end(); ++entry) {
    if (!put(entry->first, *entry->second)) return used > 0 ? static_cast<int>(used) : -EINVAL;
    listed_ = entry->first;
  }
  return static_cast<int>(used);
}

// --- FileSystem -------------------------------------------------------------------------------------------------------

FileSystem::FileSystem() {
  root_ = make(S_IFDIR | 0755, 0);
  root_->number = 1;
  root_->links = 1;
  for (const char* name : {"tmp", "var", "home", "dev"}) {
    auto directory = make(S_IFDIR | 0755, 0);
    directory->links = 1;
    root_->entries[name] = directory;
  }
  std::uint64_t null = 0;
  static_cast<void>(make_node("/dev/null", S_IFCHR | 0666, 0, null));
  root_->entries["dev"]->durable_entries = root_->entries["dev"]->entries;
  root_->durable_entries = root_->entries;
}

std::shared_ptr<Inode> FileSystem::make(mode_t mode, std::int64_t now_ns) {
  auto inode = std::make_shared<Inode>();
  inode->mode = mode;
  inode->number = next_number_++;
  inode->changed_ns = now_ns;
  return inode;
}

int FileSystem::walk(const std::shared_ptr<Inode>& start, std::string_view path, bool follow_last,
                     Place& place, int depth) {
  if (path.empty()) return -ENOENT;
  if (depth > kMostLinks) return -ELOOP;
  std::shared_ptr<Inode> at = path.front() == '/' || !start ? root_ : start;
  place = {at, {}, at};
  std::vector<std::shared_ptr<Inode>> above;  // for ".."
  while (!path.empty()) {
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    if (path.empty()) break;
    const std::size_t length = std::min(path.find('/'), path.size());
    const std::string name(path.substr(0, length));
    path.remove_prefix(length);
    const bool last = path.find_first_not_of('/') == std::string_view::npos;
    if (!at) return -ENOENT;
    if (!at->is_directory()) return -ENOTDIR;
    if (name.size() > kLongestName) return -ENAMETOOLONG;
    if (name == ".") continue;
    if (name == "..") {
      at = above.empty() ? root_ : above.back();
      if (!above.empty()) above.pop_back();
      place = {at, {}, at};
      continue;
    }
    const auto found = at->entries.find(name);
    const auto next = found == at->entries.end() ? nullptr : found->second;
    if (next && next->is_link() && (!last || follow_last || !path.empty())) {
      const std::string target = next->data;
      Place through;
      const int result = walk(at, target, true, through, depth + 1);
      if (result < 0) return result;
      place = through;
      above.push_back(at);
      at = through.inode;
      continue;
    }
    place = {at, name, next};
    above.push_back(at);
    at = next;
    if (!at && !last) return -ENOENT;
    if (at && !at->is_directory() && !path.empty()) return -ENOTDIR;  // "file/"
  }
  return 0;
}

int FileSystem::open(Engine& engine, const std::shared_ptr<Inode>& directory, std::string_view path,
                     int flags, mode_t mode, std::int64_t now_ns, std::shared_ptr<OpenFile>& opened) {
  const bool create = (flags & O_CREAT) != 0;
  const bool fresh = create && (flags & O_EXCL) != 0;
  Place place;
  if (const int result = walk(directory, path, (flags & O_NOFOLLOW) == 0 && !fresh, place); result < 0)
    return result;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  if (!place.inode) {
    if (!create) return -ENOENT;
    if ((flags & O_DIRECTORY) != 0) return -EINVAL;
    place.inode = make(S_IFREG | (mode & 07777), now_ns);
    place.inode->links = 1;
    place.parent->entries[place.name] = place.inode;
  } else {
    if (fresh) return -EEXIST;
    if (place.inode->is_link()) return -ELOOP;
    if (place.inode->is_directory() && (writes || create)) return -EISDIR;
    if (!place.inode->is_directory() && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
    if (place.inode->is_file() && (flags & O_TRUNC) != 0 && writes) place.inode->data.clear();
  }
  opened = std::make_shared<OpenFile>(engine, place.inode, flags);
  return 0;
}

int FileSystem::status(const std::shared_ptr<Inode>& directory, std::string_view path, int flags,
                       struct ::statx& out) {
  std::shared_ptr<Inode> inode = directory;
  if (!path.empty() || (flags & AT_EMPTY_PATH) == 0) {
    Place place;
    if (const int result = walk(directory, path, (flags & AT_SYMLINK_NOFOLLOW) == 0, place); result < 0)
      return result;
    inode = place.inode;
  }
  if (!inode) return -ENOENT;
  out = {};
  out.stx_mask = STATX_BASIC_STATS;
  out.stx_blksize = kPage;
  out.stx_nlink = inode->links;
  out.stx_mode = static_cast<std::uint16_t>(inode->mode);
  out.stx_ino = inode->number;
  out.stx_size = inode->data.size();
  out.stx_blocks = (inode->data.size() + 511) / 512;
  out.stx_mtime.tv_sec = inode->changed_ns / 1'000'000'000;
  out.stx_mtime.tv_nsec = static_cast<std::uint32_t>(inode->changed_ns % 1'000'000'000);
  out.stx_atime = out.stx_ctime = out.stx_mtime;
  return 0;
}

int FileSystem::unlink(const std::shared_ptr<Inode>& directory, std::string_view path, int flags) {
  Place place;
  if (const int result = walk(directory, path, false, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  if (place.name.empty()) return -EBUSY;
  const bool wants_directory = (flags & AT_REMOVEDIR) != 0;
  if (wants_directory && !place.inode->is_directory()) return -ENOTDIR;
  if (!wants_directory && place.inode->is_directory()) return -EISDIR;
  if (wants_directory && !place.inode->entries.empty()) return -ENOTEMPTY;
  --place.inode->links;
  place.parent->entries.erase(place.name);
  return 0;
}

int FileSystem::rename(std::string_view from, std::string_view to, unsigned flags) {
  Place source;
  if (const int result = walk(nullptr, from, false, source); result < 0) return result;
  if (!source.inode) return -ENOENT;
  Place target;
  if (const int result = walk(nullptr, to, false, target); result < 0) return result;
  if (source.name.empty() || target.name.empty()) return -EBUSY;
  if ((flags & RENAME_EXCHANGE) != 0) {
    if (!target.inode) return -ENOENT;
    source.parent->entries[source.name] = target.inode;
    target.parent->entries[target.name] = source.inode;
    return 0;
  }
  if (target.inode) {
    if ((flags & RENAME_NOREPLACE) != 0) return -EEXIST;
    if (target.inode == source.inode) return 0;
    if (target.inode->is_directory() && !source.inode->is_directory()) return -EISDIR;
    if (!target.inode->is_directory() && source.inode->is_directory()) return -ENOTDIR;
    if (!target.inode->entries.empty()) return -ENOTEMPTY;
    --target.inode->links;
  }
  const auto moving = source.inode;
  source.parent->entries.erase(source.name);
  target.parent->entries[target.name] = moving;
  return 0;
}

int FileSystem::make_directory(std::string_view path, mode_t mode, std::int64_t now_ns) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(S_IFDIR | (mode & 07777), now_ns);
  made->links = 1;
  place.parent->entries[place.name] = std::move(made);
  return 0;
}

int FileSystem::make_node(std::string_view path, mode_t mode, std::int64_t now_ns, std::uint64_t& number) {
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(mode, now_ns);
  made->links = 1;
  number = made->number;
  place.parent->entries[place.name] = std::move(made);
  return 0;
}

int FileSystem::make_link(std::string_view existing, std::string_view path) {
  Place source;
  if (const int result = walk(nullptr, existing, false, source); result < 0) return result;
  if (!source.inode) return -ENOENT;
  if (source.inode->is_directory()) return -EPERM;
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  ++source.inode->links;
  place.parent->entries[place.name] = source.inode;
  return 0;
}

int FileSystem::make_symbolic_link(std::string_view target, std::string_view path, std::int64_t now_ns) {
  if (target.empty()) return -ENOENT;
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(S_IFLNK | 0777, now_ns);
  made->links = 1;
  made->data = target;
  made->durable_data = target;
  place.parent->entries[place.name] = std::move(made);
  return 0;
}

ssize_t FileSystem::read_link(std::string_view path, char* target, std::size_t size) {
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  if (!place.inode->is_link()) return -EINVAL;
  return static_cast<ssize_t>(place.inode->data.copy(target, size));
}

int FileSystem::access(std::string_view path) {
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  return place.inode ? 0 : -ENOENT;
}

int FileSystem::change_mode(std::string_view path, mode_t mode) {
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  place.inode->mode = (place.inode->mode & S_IFMT) | (mode & 07777);
  return 0;
}

// --- Durability -------------------------------------------------------------------------------------------------------

void FileSystem::sync(Inode& inode) {
  inode.durable_data = inode.data;
  inode.durable_entries = inode.entries;
}

void FileSystem::cut_power(Random& random) { cut_power(*root_, random); }

void FileSystem::cut_power(Inode& inode, Random& random) {
  if (inode.is_file()) {
    // Each page that was written and not synced has reached the disk or not; so has the file's length.
    std::string& now = inode.data;
    std::string& old = inode.durable_data;
    const bool longer = random.chance(1, 2);
    const std::size_t length = longer ? now.size() : std::min(now.size(), old.size());
    std::string left(length, '\0');
    for (std::size_t at = 0; at < length; at += kPage) {
      const bool written = random.chance(1, 2);
      const std::string& from = written || at >= old.size() ? now : old;
      const bool lost = at >= old.size() && !written;  // a hole
      if (lost) continue;
      const std::size_t size = std::min({kPage, length - at, from.size() > at ? from.size() - at : 0});
      std::memcpy(left.data() + at, from.data() + at, size);
    }
    if (now != old) now = std::move(left);
    old = now;
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

const std::string* FileSystem::contents(std::string_view path) {
  Place place;
  if (walk(nullptr, path, true, place) < 0 || !place.inode || !place.inode->is_file()) return nullptr;
  return &place.inode->data;
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
    place.parent->entries[place.name] = place.inode;
  }
  if (!place.inode->is_file()) return -EISDIR;
  place.inode->data = data;
  const auto settle = [](auto& self, Inode& inode) -> void {
    sync(inode);
    for (const auto& [name, child] : inode.entries) self(self, *child);
  };
  settle(settle, *root_);
  return 0;
}

}  // namespace horus::sim::detail
