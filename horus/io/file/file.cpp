// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file.hpp>

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/offload.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {
namespace {

constexpr std::size_t kReadAhead = std::size_t{64} << 10;  // bytes

// A system call that a cancellation broke off, on whichever thread it ran.
int code_of(int result) noexcept { return result == -EINTR ? ECANCELED : -result; }

// The tasks take the descriptor's number and the state, not the File: it may be moved while they run.

Task<Result<>> read_exact_at(int fd, FileReference file, MutableBytes buffer, std::uint64_t offset) {
  while (!buffer.empty()) {
    const auto size = co_await FileRead(fd, file, buffer.data(), buffer.size(), offset);
    if (!size) co_return size.error();
    if (*size == 0) co_return transfer_failure(-kEndOfStream, "read", file.get(), offset, buffer.size());
    buffer = buffer.skip(*size);
    offset += *size;
  }
  co_return Result<>();
}

Task<Result<>> write_all_at(int fd, FileReference file, Bytes data, std::uint64_t offset) {
  while (!data.empty()) {
    const auto size = co_await FileWrite(fd, file, data.data(), data.size(), offset);
    if (!size) co_return size.error();
    if (*size == 0) co_return transfer_failure(-EIO, "write", file.get(), offset, data.size());
    data = data.skip(*size);
    offset += *size;
  }
  co_return Result<>();
}

Task<Result<>> write_all(int fd, FileReference file, Bytes data) {
  while (!data.empty()) {
    const auto size = co_await FileStreamWrite(fd, file, data.data(), data.size(), 0);
    if (!size) co_return size.error();
    if (*size == 0) co_return file_failure(-EIO, "write", file.get());
    data = data.skip(*size);
  }
  co_return Result<>();
}

Task<Result<std::string>> read_line(int fd, FileReference file, std::size_t limit) {
  FileState* state = file.get();
  if (state == nullptr) co_return file_failure(-EBADF, "read line", nullptr);
  std::size_t searched = 0;
  bool skipping = false;  // the rest of a line that is too long
  while (true) {
    const auto buffered = state->buffered();
    const auto* text = reinterpret_cast<const char*>(buffered.data());
    const void* newline = buffered.size() == searched
                              ? nullptr
                              : std::memchr(text + searched, '\n', buffered.size() - searched);
    if (newline != nullptr) {
      std::size_t length = static_cast<std::size_t>(static_cast<const char*>(newline) - text);
      state->ahead_begin += length + 1;
      if (length > 0 && text[length - 1] == '\r') --length;
      if (skipping || length > limit) break;
      co_return std::string(text, length);
    }
    searched = buffered.size();
    if (searched > limit + 1) {  // + 1: the \r of \r\n
      skipping = true;
      state->ahead_begin = state->ahead_end;
      searched = 0;
    }
    state->make_room(kReadAhead);
    const auto room = std::span(state->ahead).subspan(state->ahead_end);
    const auto size = co_await FileRead(fd, file, room.data(), room.size(), state->position);
    if (!size) co_return size.error();
    if (*size > 0) {
      state->ahead_end += *size;
      state->advance(*size);
      continue;
    }
    const auto rest = state->buffered();
    if (skipping || rest.size() > limit) {
      state->ahead_begin = state->ahead_end;
      break;
    }
    if (rest.empty()) co_return file_failure(-kEndOfStream, "read line", state);
    std::string last(reinterpret_cast<const char*>(rest.data()), rest.size());
    state->ahead_begin = state->ahead_end;
    co_return Result<std::string>(std::move(last));
  }
  co_return file_failure(-EMSGSIZE, "read line", state);
}

Result<> truncate_now(System* system, const Descriptor& file, std::uint64_t size) {
  const int result = system->truncate(file.get(), static_cast<std::int64_t>(size));
  if (result < 0) return Error(-result, "truncate");
  return {};
}

// On a duplicate, so that closing the file meanwhile cannot lead the pool to a reused number.
Task<Result<>> truncate(int fd, FileReference file, std::uint64_t size) {
  System* system = &Reactor::current()->system();
  const int number = system->duplicate(fd);
  if (number < 0) co_return file_failure(number, "truncate", file.get());
  auto truncating = offload_on(ThreadPool::files(), &truncate_now, system, Descriptor(number), size);
  const auto truncated = co_await truncating;
  if (!truncated) co_return file_failure(-truncated.code(), "truncate", file.get());
  co_return Result<>();
}

Task<Result<std::uint64_t>> size_of(int fd, FileReference file) {
  const auto status = co_await FileStatusQuery(fd, file);
  if (!status) co_return status.error();
  co_return status->size;
}

Task<Result<>> close(Descriptor descriptor, FileReference file) {
  auto closing = io::close(std::move(descriptor));
  const auto closed = co_await closing;
  if (!closed) co_return file_failure(-closed.code(), "close", file.get());
  co_return Result<>();
}

}  // namespace

void FileRegistration::take(int fd) noexcept {
  Ring& ring = Reactor::current()->ring();
  const int place = ring.register_file(fd);
  if (place < 0) return;
  owner_ = ring.id();
  slot_ = place;
}

// A file that ends on another thread than the one that used it leaves its place taken until that thread's ring ends.
void FileRegistration::give_back() noexcept {
  Reactor* reactor = Reactor::current();
  if (reactor != nullptr && reactor->ring().id() == owner_) reactor->ring().unregister_file(slot_);
}

Error file_failure(int result, const char* operation, const FileState* file) {
  return Error(code_of(result), operation, file == nullptr ? "a closed file" : std::string_view(file->path));
}

Error transfer_failure(int result, const char* operation, const FileState* file, std::uint64_t offset,
                       std::size_t size) {
  if (result == -EINVAL && file != nullptr && file->direct) {
    const auto target = fmt::format(
        "{} (O_DIRECT, {} bytes at offset {}; buffer address, size and offset must be multiples of {})",
        file->path, size, offset, file->alignment);
    return Error(EINVAL, operation, target);
  }
  return file_failure(result, operation, file);
}

}  // namespace detail

File::File(Descriptor descriptor, std::string name)
    : descriptor_(std::move(descriptor)), state_(new detail::FileState(std::move(name))) {
  state_->position = detail::kKernelPosition;
  note_waits(nullptr);
}

void File::note_waits(const char* path) noexcept {
  Reactor* reactor = Reactor::current();
  state_->waits = reactor != nullptr && descriptor_ && reactor->system().file_may_wait(fd(), path);
}

Task<Result<File>> File::open(std::string path, OpenOptions options) {
  auto opened = co_await detail::FileOpen(AT_FDCWD, path, options.flags(), options.mode());
  if (!opened) {
    if (opened.code() == EINVAL && options.is_direct())
      path += " (O_DIRECT: its file system may not know it)";
    co_return opened.error().on("open", path);
  }
  File file;
  file.descriptor_ = *std::move(opened);
  file.state_ = detail::FileReference(new detail::FileState(std::move(path)));
  file.note_waits(file.path().c_str());
  file.state_->appending = (options.flags() & O_APPEND) != 0;
  if (options.is_direct()) {
    file.state_->direct = true;
    const auto status = co_await file.status();
    if (!status) co_return status.error();
    if (status->direct_alignment > 0) file.state_->alignment = status->direct_alignment;
  }
  co_return Result<File>(std::move(file));
}

Task<Result<File>> File::open_read(std::string path) { return open(std::move(path), OpenOptions().read()); }
Task<Result<File>> File::create(std::string path) {
  return open(std::move(path), OpenOptions().write().create().truncate());
}
Task<Result<File>> File::append(std::string path) {
  return open(std::move(path), OpenOptions().append().create());
}

Task<Result<>> File::read_exact_at(MutableBytes buffer, std::uint64_t offset) const {
  return detail::read_exact_at(fd(), state_, buffer, offset);
}
Task<Result<>> File::write_text_at(int fd, detail::FileReference file, std::string text,
                                   std::uint64_t offset) {
  auto writing = detail::write_all_at(fd, std::move(file), text, offset);
  auto written = co_await writing;
  co_return written;
}
Task<Result<>> File::write_text(int fd, detail::FileReference file, std::string text) {
  auto writing = detail::write_all(fd, std::move(file), text);
  auto written = co_await writing;
  co_return written;
}
Task<Result<>> File::write_all_at(Bytes data, std::uint64_t offset) const {
  return detail::write_all_at(fd(), state_, data, offset);
}
Task<Result<>> File::write_all(Bytes data) const { return detail::write_all(fd(), state_, data); }
Task<Result<std::string>> File::read_line(std::size_t limit) const {
  return detail::read_line(fd(), state_, limit);
}
Task<Result<>> File::truncate(std::uint64_t size) const { return detail::truncate(fd(), state_, size); }
Task<Result<>> File::close() { return detail::close(std::move(descriptor_), std::move(state_)); }

Task<Result<std::uint64_t>> File::size() const { return detail::size_of(fd(), state_); }

std::uint64_t File::position() const noexcept {
  if (state_.get() == nullptr || state_->position == detail::kKernelPosition) return 0;
  return state_->position - state_->buffered().size();
}

void File::seek(std::uint64_t position) const noexcept {
  if (state_.get() == nullptr) return;
  state_->position = position;
  state_->ahead_begin = state_->ahead_end;
}

std::size_t File::alignment() const noexcept {
  return state_.get() == nullptr ? kDirectAlignment : state_->alignment;
}

const std::string& File::path() const noexcept {
  static const std::string none;
  return state_.get() == nullptr ? none : state_->path;
}

}  // namespace horus::HORUS_ABI::io
