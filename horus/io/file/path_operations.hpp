// SPDX-License-Identifier: Apache-2.0
// Awaiters of the operations on names that go through a submission entry. Relative paths start at `folder` (AT_FDCWD:
// the working directory); paths belong to the awaiting frame. Errors are bare: callers know what to call the path.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/stat.h>

#include <horus/base/result.hpp>
#include <horus/io/file/detour.hpp>
#include <horus/io/file_options.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io::detail {

// A cancellation that broke a system call off on another thread reads EINTR.
inline Error path_failure(int result, const char* operation) noexcept {
  return Error(result == -EINTR ? ECANCELED : -result, operation);
}

template <class Self>
class PathOperation : public FileOperation<Self> {
 public:
  [[nodiscard]] Result<> await_resume() const {
    if (this->result < 0) return path_failure(this->result, Self::kName);
    return {};
  }

 protected:
  PathOperation() noexcept : FileOperation<Self>(-1) {}
};

class Unlink final : public PathOperation<Unlink> {
 public:
  static constexpr const char* kName = "remove";
  [[nodiscard]] std::uint64_t detours() const noexcept { return path_detours(folder_, path_.c_str()); }
  Unlink(int folder, const std::string& path, int flags = 0) noexcept
      : folder_(folder), path_(path), flags_(flags) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::unlink(entry, folder_, path_.c_str(), flags_); }

 private:
  int folder_;
  const std::string& path_;
  int flags_;
};

class MakeDirectory final : public PathOperation<MakeDirectory> {
 public:
  static constexpr const char* kName = "create directory";
  [[nodiscard]] std::uint64_t detours() const noexcept { return path_detours(AT_FDCWD, path_.c_str()); }
  MakeDirectory(const std::string& path, mode_t mode) noexcept : path_(path), mode_(mode) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::make_directory(entry, AT_FDCWD, path_.c_str(), mode_);
  }

 private:
  const std::string& path_;
  mode_t mode_;
};

class Rename final : public PathOperation<Rename> {
 public:
  static constexpr const char* kName = "rename";
  [[nodiscard]] std::uint64_t detours() const noexcept {
    return path_detours(AT_FDCWD, from_.c_str()) | path_detours(AT_FDCWD, to_.c_str());
  }
  Rename(const std::string& from, const std::string& to) noexcept : from_(from), to_(to) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::rename(entry, from_.c_str(), to_.c_str()); }

 private:
  const std::string& from_;
  const std::string& to_;
};

class MakeSymlink final : public PathOperation<MakeSymlink> {
 public:
  static constexpr const char* kName = "symlink";
  [[nodiscard]] std::uint64_t detours() const noexcept { return path_detours(AT_FDCWD, path_.c_str()); }
  MakeSymlink(const std::string& target, const std::string& path) noexcept : target_(target), path_(path) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::make_symlink(entry, target_.c_str(), path_.c_str());
  }

 private:
  const std::string& target_;
  const std::string& path_;
};

class MakeLink final : public PathOperation<MakeLink> {
 public:
  static constexpr const char* kName = "link";
  [[nodiscard]] std::uint64_t detours() const noexcept {
    return path_detours(AT_FDCWD, existing_.c_str()) | path_detours(AT_FDCWD, path_.c_str());
  }
  MakeLink(const std::string& existing, const std::string& path) noexcept
      : existing_(existing), path_(path) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::make_link(entry, existing_.c_str(), path_.c_str());
  }

 private:
  const std::string& existing_;
  const std::string& path_;
};

class StatusQuery final : public FileOperation<StatusQuery> {
 public:
  static constexpr const char* kName = "stat";
  [[nodiscard]] std::uint64_t detours() const noexcept { return path_detours(folder_, path_.c_str()); }
  /// `flags`: AT_SYMLINK_NOFOLLOW or 0.
  StatusQuery(int folder, const std::string& path, int flags) noexcept
      : FileOperation(-1), folder_(folder), path_(path), flags_(flags) {}
  void prepare(io_uring_sqe& entry) noexcept {
    fill::status(entry, folder_, path_.c_str(), flags_, kStatusMask, raw_);
  }
  [[nodiscard]] Result<FileStatus> await_resume() const {
    if (result < 0) return path_failure(result, kName);
    return to_file_status(raw_);
  }

 private:
  int folder_;
  const std::string& path_;
  int flags_;
  struct ::statx raw_{};
};

}  // namespace horus::HORUS_ABI::io::detail
