// SPDX-License-Identifier: Apache-2.0
// The awaiters behind File: one submission entry each, no frame, no allocation. They live in the frame of the
// coroutine that waits; each keeps the file's shared state alive, and so its name for errors, but not its descriptor.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/result.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/file/detour.hpp>
#include <horus/io/file_buffers.hpp>
#include <horus/io/file_options.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::detail {

/// "The descriptor's own position": what READ and WRITE take for it.
inline constexpr std::uint64_t kKernelPosition = ~std::uint64_t{0};

// A file's place in the table of descriptors that an io_uring backend keeps registered: an operation that names the place
// spares the kernel a look-up and a reference (4 % of a cached read, 9 % of a direct one at depth 128). Other backends
// have no such table. Taken when a file is used often enough to repay the system call; given back when no operation
// can name it any more.
class FileRegistration {
 public:
  FileRegistration() noexcept = default;
  FileRegistration(const FileRegistration&) = delete;
  FileRegistration& operator=(const FileRegistration&) = delete;
  ~FileRegistration() {
    if (slot_ >= 0) give_back();
  }
  // Lets a prepared entry go through the table where that is possible.
  void apply(io_uring_sqe& entry) noexcept {
    if (slot_ >= 0) {
      if (owner_ != Reactor::current()->ring().id()) [[unlikely]]
        return;
      entry.fd = slot_;
      entry.flags |= IOSQE_FIXED_FILE;
    } else if (uses_left_ > 0 && --uses_left_ == 0) [[unlikely]] {
      take(entry.fd);
    }
  }

 private:
  static constexpr std::uint32_t kUsesBeforeTaking = 64;
  HORUS_API void take(int fd) noexcept;
  HORUS_API void give_back() noexcept;

  std::uint64_t owner_ = 0;  // Ring::id()
  std::int32_t slot_ = -1;
  std::uint32_t uses_left_ = kUsesBeforeTaking;
};

// What a File and the operations on it share.
struct FileState {
  explicit FileState(std::string name) : path(std::move(name)) {}

  const std::string path;
  std::uint64_t position = 0;  // of the next streaming byte from the disk
  bool appending = false;
  bool direct = false;
  bool waits = false;  // a server or a driver answers, when it likes
  OwnerThread owner;
  std::size_t alignment = kDirectAlignment;
  std::uint32_t references = 1;
  FileRegistration registration;
  // Read ahead for read_line: bytes [ahead_begin, ahead_end) come before `position`.
  std::vector<std::byte> ahead;
  std::size_t ahead_begin = 0;
  std::size_t ahead_end = 0;

  [[nodiscard]] std::span<const std::byte> buffered() const noexcept {
    return std::span(ahead).subspan(ahead_begin, ahead_end - ahead_begin);
  }
  // Makes at least `bytes` of room behind what is buffered.
  void make_room(std::size_t bytes) {
    ahead.erase(ahead.begin(), ahead.begin() + static_cast<std::ptrdiff_t>(ahead_begin));
    ahead_end -= ahead_begin;
    ahead_begin = 0;
    if (ahead.size() < ahead_end + bytes) ahead.resize(ahead_end + bytes);
  }
  // A seekable file goes on where its reader stands, not where the read-ahead has got to.
  void forget_ahead() noexcept {
    if (position == kKernelPosition) return;
    position -= buffered().size();
    ahead_begin = ahead_end;
  }
  void advance(std::size_t bytes) noexcept {
    if (position != kKernelPosition) position += bytes;
  }
};

// Counted without atomics: a file and its operations belong to one thread.
class FileReference {
 public:
  FileReference() noexcept = default;
  explicit FileReference(FileState* state) noexcept : state_(state) {}
  FileReference(const FileReference& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) ++state_->references;
  }
  FileReference(FileReference&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FileReference& operator=(FileReference other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~FileReference() {
    if (state_ != nullptr && --state_->references == 0) delete state_;
  }
  FileState* operator->() const noexcept { return state_; }
  [[nodiscard]] FileState* get() const noexcept { return state_; }

 private:
  FileState* state_ = nullptr;
};

// Each operation asks on its way out, so here is who may. The file itself stands for its file system.
inline std::uint64_t detours_of(const FileReference& file) noexcept {
  if (file.get() == nullptr) return 0;
  file->owner.check("File");
  return file->waits ? reinterpret_cast<std::uintptr_t>(file.get()) : 0;
}

/// The words for a failed operation on a file; for O_DIRECT it names the alignment.
HORUS_API Error file_failure(int result, const char* operation, const FileState* file);
HORUS_API Error transfer_failure(int result, const char* operation, const FileState* file,
                                 std::uint64_t offset, std::size_t size);

// The kernel moves at most this much at once (MAX_RW_COUNT); more is a short read or write.
inline constexpr std::size_t kMostPerTransfer = 0x7ffff000;  // bytes

// A read or write: `memory` and `size` are bytes or, for the vectored ones, an array of iovec and their number.
template <class Self>
class [[nodiscard]] FileTransfer : public FileOperation<Self> {
 public:
  using value_type = Result<std::size_t>;

  FileTransfer(int fd, const FileReference& file, const void* memory, std::size_t size,
               std::uint64_t offset) noexcept
      : FileOperation<Self>(fd), memory_(memory), offset_(offset), size_(size), file_(file) {}

  void prepare(io_uring_sqe& entry) noexcept {
    fill::transfer<Self::kOpcode>(entry, this->fd, memory_,
                                  static_cast<std::uint32_t>(std::min(size_, kMostPerTransfer)), offset_);
    if (file_.get() != nullptr && !file_->waits) [[likely]]
      file_->registration.apply(entry);
  }
  [[nodiscard]] std::uint64_t detours() const noexcept { return detours_of(file_); }
  value_type await_resume() const {
    if (this->result < 0) [[unlikely]] {
      return transfer_failure(this->result, Self::kName, file_.get(), offset_, size_);
    }
    return static_cast<std::size_t>(this->result);
  }
  /// The same as a task: for with_timeout, when_any, spawn.
  [[nodiscard]] Task<value_type> as_task() && { return run(this->fd, file_, memory_, size_, offset_); }

 protected:
  const void* memory_;
  std::uint64_t offset_;
  std::size_t size_;
  FileReference file_;

 private:
  static Task<value_type> run(int fd, FileReference file, const void* memory, std::size_t size,
                              std::uint64_t offset) {
    auto transferred = co_await Self(fd, file, memory, size, offset);
    co_return transferred;
  }
};

struct FileRead final : FileTransfer<FileRead> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "read";
  static constexpr std::uint8_t kOpcode = IORING_OP_READ;
};
struct FileWrite final : FileTransfer<FileWrite> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "write";
  static constexpr std::uint8_t kOpcode = IORING_OP_WRITE;
};
struct FileScatter final : FileTransfer<FileScatter> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "read";
  static constexpr std::uint8_t kOpcode = IORING_OP_READV;
};
struct FileGather final : FileTransfer<FileGather> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "write";
  static constexpr std::uint8_t kOpcode = IORING_OP_WRITEV;
};

// With registered memory, whose index is always 0: a zeroed entry's.
template <class Self>
class [[nodiscard]] FixedTransfer : public FileTransfer<Self> {
 public:
  using typename FileTransfer<Self>::value_type;

  FixedTransfer(int fd, const FileReference& file, const FixedBuffer& buffer, std::uint64_t offset) noexcept
      : FileTransfer<Self>(fd, file, buffer.data(), buffer.size(), offset), buffer_(buffer) {
    ++buffer_.region().uses;
  }
  ~FixedTransfer() { --buffer_.region().uses; }
  [[nodiscard]] Task<value_type> as_task() && { return run(this->fd, this->file_, buffer_, this->offset_); }

 private:
  static Task<value_type> run(int fd, FileReference file, FixedBuffer buffer, std::uint64_t offset) {
    auto transferred = co_await Self(fd, file, buffer, offset);
    co_return transferred;
  }
  FixedBuffer buffer_;
};
struct FixedRead final : FixedTransfer<FixedRead> {
  using FixedTransfer::FixedTransfer;
  static constexpr const char* kName = "read";
  static constexpr std::uint8_t kOpcode = IORING_OP_READ_FIXED;
};
struct FixedWrite final : FixedTransfer<FixedWrite> {
  using FixedTransfer::FixedTransfer;
  static constexpr const char* kName = "write";
  static constexpr std::uint8_t kOpcode = IORING_OP_WRITE_FIXED;
};

// Streaming: what was read ahead comes first, then the disk at the cursor.
struct FileStreamRead final : FileTransfer<FileStreamRead> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "read";
  static constexpr std::uint8_t kOpcode = IORING_OP_READ;

  [[nodiscard]] bool await_ready() noexcept {
    if (file_.get() == nullptr || file_->buffered().empty()) return false;
    const std::size_t bytes = std::min({file_->buffered().size(), size_, kMostPerTransfer});
    std::memcpy(const_cast<void*>(memory_), file_->buffered().data(), bytes);
    file_->ahead_begin += bytes;
    result = static_cast<std::int32_t>(bytes);
    from_ahead_ = true;
    return true;
  }
  void prepare(io_uring_sqe& entry) noexcept {
    if (file_.get() != nullptr) offset_ = file_->position;
    FileTransfer::prepare(entry);
  }
  value_type await_resume() const {
    if (result == 0 && size_ > 0) return file_failure(-kEndOfStream, kName, file_.get());
    if (result > 0 && !from_ahead_) file_->advance(static_cast<std::size_t>(result));
    return FileTransfer::await_resume();
  }

 private:
  bool from_ahead_ = false;
};

struct FileStreamWrite final : FileTransfer<FileStreamWrite> {
  using FileTransfer::FileTransfer;
  static constexpr const char* kName = "write";
  static constexpr std::uint8_t kOpcode = IORING_OP_WRITE;

  void prepare(io_uring_sqe& entry) noexcept {
    if (file_.get() != nullptr) {
      file_->forget_ahead();
      offset_ = file_->position;
    }
    FileTransfer::prepare(entry);
  }
  value_type await_resume() const {
    if (result > 0 && !file_->appending) file_->advance(static_cast<std::size_t>(result));
    return FileTransfer::await_resume();
  }
};

struct [[nodiscard]] FileSync final : FileOperation<FileSync> {
  FileSync(int fd, const FileReference& file, bool data_only) noexcept
      : FileOperation(fd), file_(file), data_only_(data_only) {}
  static constexpr const char* kName = "sync";
  [[nodiscard]] std::uint64_t detours() const noexcept { return detours_of(file_); }
  void prepare(io_uring_sqe& entry) const noexcept { fill::sync(entry, fd, data_only_); }
  [[nodiscard]] Result<> await_resume() const {
    if (result < 0) [[unlikely]]
      return file_failure(result, kName, file_.get());
    return {};
  }

 private:
  FileReference file_;
  bool data_only_;
};

struct [[nodiscard]] FileAllocate final : FileOperation<FileAllocate> {
  FileAllocate(int fd, const FileReference& file, std::uint64_t size, std::uint64_t offset) noexcept
      : FileOperation(fd), file_(file), size_(size), offset_(offset) {}
  static constexpr const char* kName = "allocate";
  [[nodiscard]] std::uint64_t detours() const noexcept { return detours_of(file_); }
  void prepare(io_uring_sqe& entry) const noexcept { fill::allocate(entry, fd, offset_, size_); }
  [[nodiscard]] Result<> await_resume() const {
    if (result < 0) [[unlikely]]
      return file_failure(result, kName, file_.get());
    return {};
  }

 private:
  FileReference file_;
  std::uint64_t size_;
  std::uint64_t offset_;
};

struct [[nodiscard]] FileStatusQuery final : FileOperation<FileStatusQuery> {
  FileStatusQuery(int fd, const FileReference& file) noexcept : FileOperation(fd), file_(file) {}
  static constexpr const char* kName = "stat";
  [[nodiscard]] std::uint64_t detours() const noexcept { return detours_of(file_); }
  void prepare(io_uring_sqe& entry) noexcept {
    fill::status(entry, fd, "", AT_EMPTY_PATH, kStatusMask, raw_);
  }
  [[nodiscard]] Result<FileStatus> await_resume() const {
    if (result < 0) [[unlikely]]
      return file_failure(result, kName, file_.get());
    return to_file_status(raw_);
  }

 private:
  FileReference file_;
  struct ::statx raw_{};
};

// `path` belongs to the awaiting frame.
struct FileOpen final : FileOperation<FileOpen> {
  FileOpen(int folder, const std::string& path, int flags, mode_t mode) noexcept
      : FileOperation(-1), folder_(folder), path_(path), flags_(flags), mode_(mode) {}
  static constexpr const char* kName = "open";
  [[nodiscard]] std::uint64_t detours() const noexcept { return path_detours(folder_, path_.c_str()); }
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::open(entry, folder_, path_.c_str(), flags_, mode_);
  }
  /// Errors are bare: the caller knows the whole path.
  [[nodiscard]] Result<Descriptor> await_resume() const {
    if (result < 0) [[unlikely]]
      return Error(result == -EINTR ? ECANCELED : -result, kName);
    const int fd = above_standard(result);
    if (fd < 0) [[unlikely]]
      return Error(errno, kName);
    return Descriptor(fd);
  }

 private:
  int folder_;
  const std::string& path_;
  int flags_;
  mode_t mode_;
};

}  // namespace horus::HORUS_ABI::io::detail
