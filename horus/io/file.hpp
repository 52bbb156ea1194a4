// SPDX-License-Identifier: Apache-2.0
// Files: positional and streaming reads and writes, direct I/O, sync, status. A File belongs to the thread that opened
// it and owns its descriptor; buffers belong to the caller and must outlive the await.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <sys/uio.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/file/file_operations.hpp>
#include <horus/io/file_buffers.hpp>
#include <horus/io/file_options.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// The default limit on a line of `File::read_line`.
inline constexpr std::size_t kLineLimit = std::size_t{64} << 10;  // bytes

/// An open file.
///
/// Semantics: positional operations (`…_at`) are independent of each other, and any number may be in flight.
/// Streaming operations (`read`, `write`, `read_line`) share one cursor that starts at 0; only one may be in flight.
/// At the end of the file a positional read gives 0 bytes, a streaming read kEndOfStream. `file.read_at(…).as_task()`
/// is a Task, for with_timeout, when_any and spawn. Destroying an open file cancels operations in flight on it and
/// closes it in the background; `close()` waits for that and reports the error of the close itself. The tasks below
/// keep working when the File object is moved meanwhile.
/// Errors: each names the path; ECANCELED when the task was asked to stop. (Reads and writes on a disk that have
/// begun are completed instead, because the kernel cannot cancel them.)
/// Thread safety: the thread that opened it. An operation on another thread ends the program with a message. To move
/// a file, use release() and a new File.
/// Example:
/// ```
/// auto file = (co_await horus::io::File::open_read("/etc/hostname")).or_throw();
/// std::array<std::byte, 256> buffer;
/// auto size = co_await file.read_at(buffer, 0);
/// ```
class HORUS_API File {
 public:
  /// A closed file: every operation on it fails with EBADF.
  File() noexcept = default;
  /// Takes over an open descriptor; `name` stands for the path in errors. Streaming uses the descriptor's own
  /// position, which other descriptors may share.
  File(Descriptor descriptor, std::string name);
  File(File&&) noexcept = default;
  File& operator=(File&&) noexcept = default;

  /// Opening a FIFO here does not wait for its other end: reading begins at once, and opening for writing gives ENXIO
  /// while no reader has it open. The calls of horus/io/pipe.hpp wait.
  /// Source: openat(2).
  [[nodiscard]] static Task<Result<File>> open(std::string path, OpenOptions options);
  /// Opens an existing file for reading.
  [[nodiscard]] static Task<Result<File>> open_read(std::string path);
  /// Opens a file for writing; makes it when there is none, otherwise empties it.
  [[nodiscard]] static Task<Result<File>> create(std::string path);
  /// Opens a file so that every write goes to its end; makes it when there is none.
  [[nodiscard]] static Task<Result<File>> append(std::string path);

  // --- At an offset -------------------------------------------------------------------------------------------------

  /// Reads up to `buffer.size()` bytes; gives their number, 0 at the end of the file. Source: pread(2).
  [[nodiscard]] auto read_at(MutableBytes buffer, std::uint64_t offset) const noexcept {
    return detail::FileRead(descriptor_.get(), state_, buffer.data(), buffer.size(), offset);
  }
  /// Writes up to `data.size()` bytes; gives their number. A file opened with append() ignores the offset.
  [[nodiscard]] auto write_at(Bytes data, std::uint64_t offset) const noexcept {
    return detail::FileWrite(descriptor_.get(), state_, data.data(), data.size(), offset);
  }
  /// The same with registered memory, so that the kernel need not pin it for each operation.
  [[nodiscard]] auto read_fixed_at(const FixedBuffer& buffer, std::uint64_t offset) const noexcept {
    return detail::FixedRead(descriptor_.get(), state_, buffer, offset);
  }
  [[nodiscard]] auto write_fixed_at(const FixedBuffer& data, std::uint64_t offset) const noexcept {
    return detail::FixedWrite(descriptor_.get(), state_, data, offset);
  }
  /// Reads into several buffers, in order; the array must outlive the await too. At most 1024 buffers (IOV_MAX).
  [[nodiscard]] auto read_vectored_at(std::span<const iovec> buffers, std::uint64_t offset) const noexcept {
    return detail::FileScatter(descriptor_.get(), state_, buffers.data(), buffers.size(), offset);
  }
  [[nodiscard]] auto write_vectored_at(std::span<const iovec> buffers, std::uint64_t offset) const noexcept {
    return detail::FileGather(descriptor_.get(), state_, buffers.data(), buffers.size(), offset);
  }
  /// Fills the buffer. Errors: kEndOfStream when the file ends before.
  [[nodiscard]] Task<Result<>> read_exact_at(MutableBytes buffer, std::uint64_t offset) const;
  /// Writes everything.
  [[nodiscard]] Task<Result<>> write_all_at(Bytes data, std::uint64_t offset) const;
  /// The same; a temporary string is moved into the task.
  template <std::same_as<std::string> Text>
  [[nodiscard]] Task<Result<>> write_all_at(Text&& text, std::uint64_t offset) const {
    return write_text_at(fd(), state_, std::move(text), offset);
  }

  // --- At the cursor ------------------------------------------------------------------------------------------------

  /// Reads up to `buffer.size()` bytes and moves the cursor. kEndOfStream at the end of the file.
  [[nodiscard]] auto read(MutableBytes buffer) const noexcept {
    return detail::FileStreamRead(descriptor_.get(), state_, buffer.data(), buffer.size(), 0);
  }
  /// Writes up to `data.size()` bytes and moves the cursor. With append() they go to the end, and the cursor stays.
  [[nodiscard]] auto write(Bytes data) const noexcept {
    return detail::FileStreamWrite(descriptor_.get(), state_, data.data(), data.size(), 0);
  }
  [[nodiscard]] Task<Result<>> write_all(Bytes data) const;
  template <std::same_as<std::string> Text>
  [[nodiscard]] Task<Result<>> write_all(Text&& text) const {
    return write_text(fd(), state_, std::move(text));
  }
  /// The next line without its \n or \r\n. A last line without \n counts. Reads ahead in blocks of 64 KiB. A line of
  /// more than `limit` bytes gives EMSGSIZE and is dropped as a whole: the next read_line gives the line after it.
  /// kEndOfStream after the last line.
  [[nodiscard]] Task<Result<std::string>> read_line(std::size_t limit = kLineLimit) const;
  /// The position of the cursor, in bytes.
  [[nodiscard]] std::uint64_t position() const noexcept;
  /// Moves the cursor; a position past the end is allowed. A file made from an existing descriptor gets a cursor of
  /// its own.
  void seek(std::uint64_t position) const noexcept;

  // --- The file itself ----------------------------------------------------------------------------------------------

  /// Returns when data and status are on the disk. Source: fsync(2).
  [[nodiscard]] auto sync() const noexcept { return detail::FileSync(descriptor_.get(), state_, false); }
  /// The same for the data and the metadata needed to find it. Source: fdatasync(2).
  [[nodiscard]] auto sync_data() const noexcept { return detail::FileSync(descriptor_.get(), state_, true); }
  /// Cuts the file, or extends it with zeros. Source: ftruncate(2).
  [[nodiscard]] Task<Result<>> truncate(std::uint64_t size) const;
  /// Reserves disk space for [offset, offset + size) and extends the file to it; later writes there find room.
  /// Source: fallocate(2).
  [[nodiscard]] auto allocate(std::uint64_t size, std::uint64_t offset = 0) const noexcept {
    return detail::FileAllocate(descriptor_.get(), state_, size, offset);
  }
  /// Source: statx(2).
  [[nodiscard]] auto status() const noexcept { return detail::FileStatusQuery(descriptor_.get(), state_); }
  [[nodiscard]] Task<Result<std::uint64_t>> size() const;
  /// Cancels operations in flight, closes the file, and returns the error of the close itself.
  [[nodiscard]] Task<Result<>> close();
  /// Gives the descriptor away, for a File of another thread; this File is closed then. No operation may be in flight
  /// on it.
  [[nodiscard]] Descriptor release() noexcept {
    state_ = {};
    return std::move(descriptor_);
  }

  /// With O_DIRECT, buffers, offsets and lengths must be multiples of this. For a file opened with
  /// `OpenOptions::direct()` the file system decides it, else it is 4096.
  [[nodiscard]] std::size_t alignment() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept;
  /// The number of the descriptor; -1 when closed.
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(descriptor_); }

 private:
  static Task<Result<>> write_text_at(int fd, detail::FileReference file, std::string text,
                                      std::uint64_t offset);
  static Task<Result<>> write_text(int fd, detail::FileReference file, std::string text);
  void note_waits(const char* path) noexcept;

  Descriptor descriptor_;
  detail::FileReference state_;
};

}  // namespace horus::HORUS_ABI::io
