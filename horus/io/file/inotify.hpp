// SPDX-License-Identifier: Apache-2.0
// The kernel's watch of folders, and the one place that reads what it says. Internal: users take watch.hpp. Any thread may
// add and remove; one thread reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include <sys/inotify.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::io::detail {

/// One thing that the kernel says.
struct Change {
  int watch = -1;          ///< the folder's number; -1: IN_Q_OVERFLOW
  std::uint32_t mask = 0;  ///< IN_*
  std::uint32_t cookie = 0;
  std::string name;  ///< of the folder's entry; empty: the folder itself
};

/// Appends what `bytes`, as read(2) gave them, say. False: they do not follow inotify(7); what came before is appended.
HORUS_API bool parse_changes(Bytes bytes, std::deque<Change>& changes);

class HORUS_API Inotify {
 public:
  /// Owns nothing.
  Inotify() noexcept = default;
  /// Errors: EMFILE, which says whether fs.inotify.max_user_instances or the limit of descriptors is reached; ENFILE,
  /// ENOMEM.
  static Result<Inotify> open();

  /// The number of a folder's watch; of one that is watched already the number that it has, and `events` replace the
  /// earlier ones. Errors: those of inotify_add_watch(2); ENOSPC says fs.inotify.max_user_watches.
  Result<int> add(System& system, const std::string& folder, std::uint32_t events) const;
  /// The same instance by another descriptor, for a thread: this one may be closed meanwhile.
  [[nodiscard]] Result<Inotify> duplicate() const;
  /// Nothing where there is no such watch any more.
  void remove(int number) const noexcept;
  /// Reads once, at most kReadBytes, and never waits. True: something was appended. Errors: those of read(2); EIO for
  /// bytes that are no changes.
  Result<bool> read(std::deque<Change>& changes) const;
  /// Throws away what waits, up to a bound; there may be more.
  void drain() const noexcept;

  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  [[nodiscard]] Descriptor release() noexcept { return std::move(descriptor_); }

  /// Room for the longest name, and for hundreds of usual ones.
  static constexpr std::size_t kReadBytes = std::size_t{16} << 10;

 private:
  explicit Inotify(Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}
  Descriptor descriptor_;
};

}  // namespace horus::HORUS_ABI::io::detail
