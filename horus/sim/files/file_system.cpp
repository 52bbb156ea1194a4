// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/files/file_system.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <horus/sim/files/folder_watch.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr int kMostLinks = 40;  // on the way of one path, as Linux has it
constexpr std::size_t kLongestName = 255;

}  // namespace

// --- FileSystem -------------------------------------------------------------------------------------------------------

FileSystem::FileSystem() {
  root_ = make(S_IFDIR | 0755, 0);
  root_->number = 1;
  root_->links = 1;
  for (const char* name : {"tmp", "var", "home"}) {
    auto directory = make(S_IFDIR | 0755, 0);
    directory->links = 1;
    root_->entries[name] = directory;
  }
  make_devices();
  root_->durable_entries = root_->entries;
}

void FileSystem::make_devices() {
  auto directory = make(S_IFDIR | 0755, 0);
  directory->links = 1;
  for (const auto& [name, device] :
       {std::pair{"full", Device::full}, std::pair{"null", Device::null}, std::pair{"zero", Device::zero}}) {
    auto node = make(S_IFCHR | 0666, 0);
    node->links = 1;
    node->device = device;
    directory->entries[name] = node;
  }
  directory->durable_entries = directory->entries;
  root_->entries["dev"] = directory;
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
      const std::string target = next->target;
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
    enter(place, place.inode);
  } else {
    if (fresh) return -EEXIST;
    if (place.inode->is_link()) return -ELOOP;
    if (place.inode->is_directory() && (writes || create)) return -EISDIR;
    if (!place.inode->is_directory() && (flags & O_DIRECTORY) != 0) return -ENOTDIR;
    if (place.inode->is_file() && (flags & O_TRUNC) != 0 && writes) truncate(*place.inode, 0);
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
  out.stx_blksize = Contents::kPage;
  out.stx_nlink = inode->links;
  out.stx_mode = static_cast<std::uint16_t>(inode->mode);
  out.stx_ino = inode->number;
  out.stx_size = inode->is_link() ? inode->target.size() : inode->data.size();
  out.stx_blocks = inode->data.allocated() / 512;
  if (inode->is_file()) {
    out.stx_mask |= STATX_DIOALIGN;
    out.stx_dio_mem_align = out.stx_dio_offset_align = kDirectSector;
  }
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
  tell_gone(*place.parent, place.name, *place.inode);
  return 0;
}

void FileSystem::remove_tree(std::string_view path) {
  Place place;
  if (walk(nullptr, path, false, place) < 0 || !place.inode || place.name.empty()) return;
  --place.inode->links;
  place.parent->entries.erase(place.name);
  tell_gone(*place.parent, place.name, *place.inode);
}

int FileSystem::watch(FolderWatch& watch, std::string_view path, std::uint32_t events) {
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  if (!place.inode->is_directory()) return -ENOTDIR;
  return watch.add(*place.inode, events);
}

namespace {

std::uint32_t kind_bit(const Inode& inode) noexcept { return inode.is_directory() ? IN_ISDIR : 0U; }

}  // namespace

// A new name in a directory.
void FileSystem::enter(const Place& place, std::shared_ptr<Inode> inode) {
  inode->folder = place.parent;
  inode->name = place.name;
  tell(*place.parent, IN_CREATE | kind_bit(*inode), place.name);
  place.parent->entries[place.name] = std::move(inode);
}

void FileSystem::tell(const Inode& folder, std::uint32_t event, std::string_view name, std::uint32_t cookie) {
  for (const auto& watch : folder.watches) {
    if (const auto alive = watch.lock()) alive->happened(folder, event, name, cookie);
  }
}

void FileSystem::tell_of(const Inode& inode, std::uint32_t event) {
  if (const auto folder = inode.folder.lock()) tell(*folder, event | kind_bit(inode), inode.name);
}

// With all that is below it, the innermost first.
void FileSystem::tell_gone(Inode& parent, const std::string& name, Inode& inode) {
  for (const auto& [below, entry] : inode.entries) tell_gone(inode, below, *entry);
  if (inode.is_directory()) tell(inode, IN_DELETE_SELF, {});
  if (inode.folder.lock().get() == &parent && inode.name == name) inode.folder.reset();
  tell(parent, IN_DELETE | kind_bit(inode), name);
}

// `inode` has another name.
void FileSystem::tell_moved(const Place& from, const Place& to, Inode& inode) {
  inode.folder = to.parent;
  inode.name = to.name;
  const std::uint32_t cookie = ++last_cookie_;
  tell(*from.parent, IN_MOVED_FROM | kind_bit(inode), from.name, cookie);
  tell(*to.parent, IN_MOVED_TO | kind_bit(inode), to.name, cookie);
  if (inode.is_directory()) tell(inode, IN_MOVE_SELF, {});
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
    tell_moved(source, target, *source.inode);
    tell_moved(target, source, *target.inode);
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
  if (target.inode) target.inode->folder.reset();
  tell_moved(source, target, *moving);
  if (target.inode && target.inode->is_directory()) tell(*target.inode, IN_DELETE_SELF, {});
  return 0;
}

int FileSystem::make_directory(std::string_view path, mode_t mode, std::int64_t now_ns) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(S_IFDIR | (mode & 07777), now_ns);
  made->links = 1;
  enter(place, std::move(made));
  return 0;
}

int FileSystem::make_node(std::string_view path, mode_t mode, std::int64_t now_ns, std::uint64_t& number) {
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(mode, now_ns);
  made->links = 1;
  number = made->number;
  enter(place, std::move(made));
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
  enter(place, source.inode);
  return 0;
}

int FileSystem::make_symbolic_link(std::string_view target, std::string_view path, std::int64_t now_ns) {
  if (target.empty()) return -ENOENT;
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (place.inode) return -EEXIST;
  auto made = make(S_IFLNK | 0777, now_ns);
  made->links = 1;
  made->target = target;
  enter(place, std::move(made));
  return 0;
}

ssize_t FileSystem::read_link(std::string_view path, char* target, std::size_t size) {
  Place place;
  if (const int result = walk(nullptr, path, false, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  if (!place.inode->is_link()) return -EINVAL;
  return static_cast<ssize_t>(place.inode->target.copy(target, size));
}

int FileSystem::access(std::string_view path, int mode) {
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  const bool runs = place.inode->is_directory() || (place.inode->mode & 0111) != 0;
  return (mode & X_OK) != 0 && !runs ? -EACCES : 0;
}

int FileSystem::change_mode(std::string_view path, mode_t mode) {
  Place place;
  if (const int result = walk(nullptr, path, true, place); result < 0) return result;
  if (!place.inode) return -ENOENT;
  place.inode->mode = (place.inode->mode & S_IFMT) | (mode & 07777);
  tell_of(*place.inode, IN_ATTRIB);
  return 0;
}

void FileSystem::truncate(Inode& file, std::uint64_t size) {
  file.data.resize(size);
  tell_of(file, IN_MODIFY);
}

}  // namespace horus::HORUS_ABI::sim::detail
