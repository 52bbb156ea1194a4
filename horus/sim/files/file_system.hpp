// SPDX-License-Identifier: Apache-2.0
// The disk of a simulated host: a file system in memory that knows what has reached the disk and what a power cut
// would lose. One thread, the world's. Inodes are shared by directories and open files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <sys/stat.h>

#include <horus/sim/base/objects.hpp>
#include <horus/sim/files/contents.hpp>
#include <horus/sim/random.hpp>

namespace horus::HORUS_ABI::sim::detail {

class FifoChannel;
class FolderWatch;
inline constexpr std::uint32_t kDirectSector = 512;  // bytes: what direct I/O must be aligned to

/// Of /dev.
enum class Device : std::uint8_t { none, null, zero, full };

struct Inode {
  mode_t mode = 0;  // type and permissions
  std::uint64_t number = 0;
  std::uint32_t links = 0;
  std::int64_t changed_ns = 0;
  Device device = Device::none;
  Contents data;                                          // of a file
  std::string target;                                     // of a symbolic link
  std::map<std::string, std::shared_ptr<Inode>> entries;  // of a directory
  std::weak_ptr<FifoChannel> fifo;                        // of a FIFO that somebody has open
  std::vector<std::weak_ptr<FolderWatch>> watches;        // of a directory
  // Where it is, for whoever watches that directory; of several hard links the newest. Null: it was unlinked.
  std::weak_ptr<Inode> folder;
  std::string name;
  // What a power cut leaves.
  Contents durable_data;
  std::map<std::string, std::shared_ptr<Inode>> durable_entries;

  [[nodiscard]] bool is_directory() const noexcept { return S_ISDIR(mode); }
  [[nodiscard]] bool is_file() const noexcept { return S_ISREG(mode); }
  [[nodiscard]] bool is_link() const noexcept { return S_ISLNK(mode); }
};

class FileSystem;

/// An open file or directory.
class OpenFile final : public Object {
 public:
  OpenFile(Engine& engine, std::shared_ptr<Inode> inode, int flags) noexcept
      : Object(engine), inode_(std::move(inode)), flags_(flags) {}
  [[nodiscard]] Kind kind() const noexcept override { return Kind::file; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  [[nodiscard]] const std::shared_ptr<Inode>& inode() const noexcept { return inode_; }
  [[nodiscard]] int flags() const noexcept override { return flags_; }
  /// `offset` -1: at the open file's own position, which moves.
  ssize_t read_at(const iovec* parts, std::size_t count, std::int64_t offset);
  ssize_t write_at(const iovec* parts, std::size_t count, std::int64_t offset, std::int64_t now_ns);
  /// As getdents64.
  int list(void* buffer, std::size_t size);
  void closed() override;

 private:
  [[nodiscard]] bool misaligned(const iovec* parts, std::size_t count, std::uint64_t offset) const noexcept;

  std::shared_ptr<Inode> inode_;
  int flags_;
  std::uint64_t position_ = 0;
  std::string listed_;  // the last name that list() gave
  int listing_ = 0;     // 0: at ".", 1: at "..", 2: at the entries
};

/// Semantics: paths are absolute or below "/", the working directory of every simulated process. There are no users and
/// no permissions beyond the mode bits that stat shows. What was not synced may be lost by `cut_power`.
/// Every call gives ≥ 0 or -errno.
class FileSystem {
 public:
  FileSystem();

  /// `directory`: what a relative path starts at; null: the root.
  int open(Engine& engine, const std::shared_ptr<Inode>& directory, std::string_view path, int flags,
           mode_t mode, std::int64_t now_ns, std::shared_ptr<OpenFile>& opened);
  int status(const std::shared_ptr<Inode>& directory, std::string_view path, int flags, struct ::statx& out);
  int unlink(const std::shared_ptr<Inode>& directory, std::string_view path, int flags);
  void remove_tree(std::string_view path);
  int rename(std::string_view from, std::string_view to, unsigned flags);
  int make_directory(std::string_view path, mode_t mode, std::int64_t now_ns);
  /// A FIFO, a socket's file, a device: `mode` says which. Gives its inode's number.
  int make_node(std::string_view path, mode_t mode, std::int64_t now_ns, std::uint64_t& number);
  int make_link(std::string_view existing, std::string_view path);
  int make_symbolic_link(std::string_view target, std::string_view path, std::int64_t now_ns);
  ssize_t read_link(std::string_view path, char* target, std::size_t size);
  /// As root: only running a file that nobody may run is denied.
  int access(std::string_view path, int mode);
  int change_mode(std::string_view path, mode_t mode);
  static void truncate(Inode& file, std::uint64_t size);
  /// inotify_add_watch: -ENOTDIR for what is no directory.
  int watch(FolderWatch& watch, std::string_view path, std::uint32_t events);
  /// Tells those who watch its directory what happened to a file: IN_MODIFY, IN_CLOSE_WRITE, IN_ATTRIB.
  static void tell_of(const Inode& inode, std::uint32_t event);
  /// What fsync does for a file or directory.
  static void sync(Inode& inode);

  /// Loses what was not synced: of each page and each name the seed decides whether it had reached the disk.
  void cut_power(Random& random);

  // For scenarios.
  [[nodiscard]] std::optional<std::string> contents(std::string_view path);
  /// Makes the directories on the way; durable at once.
  int put(std::string_view path, std::string_view data);

 private:
  struct Place {
    std::shared_ptr<Inode> parent;
    std::string name;              // empty: the root itself
    std::shared_ptr<Inode> inode;  // null when there is none
  };
  int walk(const std::shared_ptr<Inode>& start, std::string_view path, bool follow_last, Place& place,
           int depth = 0);
  std::shared_ptr<Inode> make(mode_t mode, std::int64_t now_ns);
  void make_devices();
  static void enter(const Place& place, std::shared_ptr<Inode> inode);
  static void tell(const Inode& folder, std::uint32_t event, std::string_view name, std::uint32_t cookie = 0);
  static void tell_gone(Inode& parent, const std::string& name, Inode& inode);
  void tell_moved(const Place& from, const Place& to, Inode& inode);
  void cut_power(Inode& inode, Random& random);

  std::shared_ptr<Inode> root_;
  std::uint64_t next_number_ = 2;
  std::uint32_t last_cookie_ = 0;  // of what was renamed
};

}  // namespace horus::HORUS_ABI::sim::detail
