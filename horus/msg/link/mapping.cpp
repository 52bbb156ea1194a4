// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/mapping.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <utility>

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <horus/base/memory_limits.hpp>
#include <horus/io/seam/system.hpp>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010  // Linux 5.1
#endif

namespace horus::HORUS_ABI::msg {
namespace {

using horus::detail::memory_error;
using horus::detail::MemoryCall;

thread_local std::uint64_t filled_bytes = 0;

constexpr int kSizeSeals = F_SEAL_SHRINK | F_SEAL_GROW;

// ftruncate beyond RLIMIT_FSIZE is an error here, and never the SIGXFSZ that ends a process: it waits in this thread alone,
// and is taken back. 0 or errno.
int resize(int file, std::size_t bytes) noexcept {
  sigset_t ours;
  sigset_t before;
  sigset_t pending;
  ::sigemptyset(&ours);
  ::sigaddset(&ours, SIGXFSZ);
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  const bool blocked = ::pthread_sigmask(SIG_BLOCK, &ours, &before) == 0;
  const int error = ::ftruncate(file, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  if (!blocked) return error;
  const timespec at_once{};
  if (error == EFBIG && ::sigismember(&pending, SIGXFSZ) == 0) ::sigtimedwait(&ours, nullptr, &at_once);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

Result<std::shared_ptr<Mapping>> map(int file, std::size_t bytes, bool writable) {
  const int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED | MAP_NORESERVE;
  io::System& host = io::System::here();
  const int pages = file < 0 ? -1 : host.kernel_file(file);
  void* data = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, flags, pages, 0);
  if (data == MAP_FAILED) {
    const int error = errno;
    if (file >= 0) host.close(file);
    return memory_error(error, file < 0 ? MemoryCall::map_private : MemoryCall::map_shared, bytes,
                        "map message memory", {});
  }
  return std::make_shared<Mapping>(static_cast<std::byte*>(data), bytes, file, host.world_process());
}

}  // namespace

Result<std::shared_ptr<Mapping>> Mapping::create(std::size_t bytes, bool sharable, const char* name) {
  if (!sharable) return map(-1, bytes, true);
  io::System& host = io::System::here();
  const int file = host.make_memory(name);
  if (file < 0) return memory_error(-file, MemoryCall::make_file, bytes, "memfd_create", name);
  const int pages = host.kernel_file(file);
  if (const int error = resize(pages, bytes); error != 0) {
    host.close(file);
    return memory_error(error, MemoryCall::resize_file, bytes, "reserve message memory", name);
  }
  if (::fcntl(pages, F_ADD_SEALS, kSizeSeals) != 0) {
    const Error error(errno, "seal message memory", name);
    host.close(file);
    return error;
  }
  return map(file, bytes, true);
}

Result<std::shared_ptr<Mapping>> Mapping::adopt(int file, std::size_t bytes, bool writable) {
  io::System& host = io::System::here();
  const int pages = host.kernel_file(file);
  const int seals = ::fcntl(pages, F_GET_SEALS);
  struct stat status{};
  struct statfs system{};
  // In this order: what has seals is memory, and asking it never waits. Huge pages are not there before somebody can spare
  // them, and a reader of one that is missing dies.
  if (seals < 0 || (seals & kSizeSeals) != kSizeSeals || ::fstatfs(pages, &system) != 0 ||
      static_cast<std::uint64_t>(system.f_type) != TMPFS_MAGIC || ::fstat(pages, &status) != 0 ||
      !S_ISREG(status.st_mode) || status.st_size < 0 || static_cast<std::uint64_t>(status.st_size) < bytes) {
    if (file >= 0) host.close(file);
    return Error(kBadInput, "map message memory",
                 "of a peer (no ordinary memory, not sealed against a change of its size, or too small)");
  }
  auto mapped = map(file, bytes, writable);
  if (mapped) {
    (*mapped)->close_file();
    (*mapped)->adopted_ = true;
  }
  return mapped;
}

Result<std::shared_ptr<Mapping>> Mapping::part(const std::shared_ptr<Mapping>& whole, std::uint64_t offset,
                                               std::size_t bytes) {
  if (offset > whole->size() || bytes > whole->size() - offset)
    return Error(kBadInput, "find messages", "of a peer (beyond the memory that it gave)");
  return std::make_shared<Mapping>(whole->data() + offset, bytes, std::shared_ptr<const void>(whole));
}

void Mapping::close_file() noexcept {
  if (file_ >= 0) io::close_of(file_of_, std::exchange(file_, -1));
}

Mapping::~Mapping() {
  if (owner_ != nullptr) return;
  ::munmap(data_, size_);
  close_file();
}

Result<> Mapping::fill(std::size_t at, std::size_t bytes) const {
  const int file = pages_file() < 0 ? -1 : io::System::here().kernel_file(pages_file());
  if (file < 0 || bytes == 0) return {};
  // What a signal interrupts is undone: the next try asks for less, so that signals that come often do not stop it for ever.
  constexpr std::size_t kLargestStep = std::size_t{1} << 20;
  constexpr std::size_t kSmallestStep = 4096;
  int error = 0;
  for (std::size_t done = 0, step = kLargestStep; done < bytes && (error == 0 || error == EINTR);) {
    const std::size_t more = std::min(step, bytes - done);
    const auto from = static_cast<off_t>(offset_ + at + done);
    error = ::fallocate(file, 0, from, static_cast<off_t>(more)) == 0 ? 0 : errno;
    if (error == 0) {
      done += more;
      filled_bytes += more;
    }
    if (error == EINTR) step = std::max(step / 2, kSmallestStep);
  }
  // Where a kernel or a filter has no such call, pages come when they are touched.
  if (error == 0 || error == EOPNOTSUPP || error == ENOSYS || error == EPERM) return {};
  return memory_error(error, MemoryCall::fill_file, bytes, "fill message memory", {});
}

std::uint64_t Mapping::filled_here() noexcept { return filled_bytes; }

bool Mapping::forget_pages() const noexcept {
  return owner_ == nullptr && file_ < 0 && !adopted_ && ::madvise(data_, size_, MADV_DONTNEED) == 0;
}

Result<> Mapping::forbid_writers() {
  if (::fcntl(io::System::here().kernel_file(file_), F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0)
    return Error(errno, "seal message memory");
  return {};
}

}  // namespace horus::HORUS_ABI::msg
