// SPDX-License-Identifier: Apache-2.0
#include <horus/io/replay/log_file.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/crc32c.hpp>

namespace horus::io::replay {
namespace {

constexpr std::uint64_t kStep = std::uint64_t{4} << 20;  // bytes by which the file grows

// Not the process's memory: a child of fork() has no business in it.
constexpr int kShared = MAP_SHARED | MAP_FIXED;

}  // namespace

const char* name_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::program: return "the beginning";
    case Kind::ring: return "a reactor begins";
    case Kind::clock: return "the clock is read";
    case Kind::wall_clock: return "the time of day is read";
    case Kind::enter: return "operations are submitted, or complete";
    case Kind::call: return "a system call";
    case Kind::decision: return "another thread has intervened";
    case Kind::post: return "a posted closure runs";
    case Kind::job: return "offloaded work comes back";
    case Kind::errand: return "work that the loop left for its next turn";
    case Kind::foreign: return "work of another thread is taken";
    case Kind::result: return "the result of an offloaded function";
    case Kind::outside: return "another thread has told the scheduler something";
    case Kind::limit: return "the largest size of the file";
    case Kind::end: return "the program's end";
  }
  return "an unknown event";
}

LogWriter::LogWriter(int fd, std::byte* memory, std::uint64_t most_bytes) noexcept
    : fd_(fd), memory_(memory), most_bytes_(most_bytes) {}

Result<std::unique_ptr<LogWriter>> LogWriter::create(const std::string& path, std::uint64_t most_bytes) {
  const int fd = above_standard(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (fd < 0 && errno == EEXIST)
    return Error(EEXIST, "record exactly", path)
        .with_detail("(a recording is never written over: give it another name)");
  if (fd < 0) return Error(errno, "record exactly", path);
  const auto fail = [&](int code) {
    ::close(fd);
    ::unlink(path.c_str());
    return Error(code, "record exactly", path);
  };
  void* const memory = ::mmap(nullptr, static_cast<std::size_t>(most_bytes), PROT_NONE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail(errno);
  std::unique_ptr<LogWriter> writer(new LogWriter(fd, static_cast<std::byte*>(memory), most_bytes));
  if (!writer->grow(kPreface)) {
    const int code = writer->problem_ == 0 ? EFBIG : writer->problem_;
    ::unlink(path.c_str());
    return Error(code, "record exactly", path);
  }
  Preface preface{};
  std::copy(std::begin(kMagic), std::end(kMagic), preface.magic);
  preface.format = kFormat;
  std::memcpy(writer->memory_, &preface, sizeof preface);
  return writer;
}

LogWriter::~LogWriter() {
  ::munmap(memory_, static_cast<std::size_t>(most_bytes_));
  [[maybe_unused]] const int ignored = ::ftruncate(fd_, static_cast<off_t>(kPreface + used_));
  ::close(fd_);
}

// The blocks are there before they are written to: on a full disk a write into a hole would be a SIGBUS.
bool LogWriter::grow(std::uint64_t needed) noexcept {
  const std::uint64_t size = std::min((needed + kStep - 1) / kStep * kStep, most_bytes_);
  if (size < needed || size <= mapped_) return false;
  const auto length = static_cast<off_t>(size - mapped_);
  problem_ = ::posix_fallocate(fd_, static_cast<off_t>(mapped_), length);
  if (problem_ != 0) return false;
  void* const mapped = ::mmap(memory_ + mapped_, static_cast<std::size_t>(length), PROT_READ | PROT_WRITE,
                              kShared, fd_, static_cast<off_t>(mapped_));
  if (mapped == MAP_FAILED) {
    problem_ = errno;
    return false;
  }
  ::madvise(mapped, static_cast<std::size_t>(length), MADV_DONTFORK);
  mapped_ = size;
  return true;
}

// One byte of what the file has room for is kept for the mark.
bool LogWriter::append(std::span<const std::byte> event) noexcept {
  const std::uint64_t needed = kPreface + used_ + event.size() + 1;
  if (needed > mapped_ && !grow(needed)) {
    const std::byte mark[] = {static_cast<std::byte>(Kind::limit)};
    put(mark);
    return false;
  }
  put(event);
  return true;
}

void LogWriter::put(std::span<const std::byte> event) noexcept {
  std::memcpy(memory_ + kPreface + used_, event.data(), event.size());
  used_ += event.size();
  sum_ = crc32c(event, sum_);
  current_ = 1 - current_;
  auto& preface = *reinterpret_cast<Preface*>(memory_);
  preface.extents[current_] = {used_, sum_, 0};
  std::atomic_ref(preface.current).store(current_, std::memory_order_release);
}

// --- Reading ----------------------------------------------------------------------------------------------------------

LogFile::LogFile(LogFile&& other) noexcept
    : whole_(std::exchange(other.whole_, {})), events_(std::exchange(other.events_, {})) {}

LogFile& LogFile::operator=(LogFile&& other) noexcept {
  std::swap(whole_, other.whole_);
  std::swap(events_, other.events_);
  return *this;
}

LogFile::~LogFile() {
  if (!whole_.empty()) ::munmap(const_cast<std::byte*>(whole_.data()), whole_.size());
}

Result<LogFile> LogFile::open(const std::string& path) {
  const int fd = above_standard(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return Error(errno, "replay", path);
  struct stat status{};
  int code = ::fstat(fd, &status) != 0 ? errno : 0;
  if (code == 0 && !S_ISREG(status.st_mode)) code = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
  const auto size = static_cast<std::size_t>(code == 0 ? status.st_size : 0);
  void* const memory = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (memory == MAP_FAILED) code = errno;
  ::close(fd);
  if (code != 0) return Error(code, "replay", path);
  const auto refuse = [&](const std::string& why) {
    return Error(kBadInput, "replay", path).with_detail(why);
  };
  LogFile file({static_cast<const std::byte*>(memory), size});
  Preface preface{};
  if (size >= kPreface) std::memcpy(&preface, memory, sizeof preface);
  if (!std::equal(std::begin(kMagic), std::end(kMagic), preface.magic))
    return refuse("(this is no exact recording; HORUS_RECORD_SEAM=FILE makes one)");
  if (preface.format != kFormat)
    return refuse(fmt::format("(its format is {}, and this library reads {})", preface.format, kFormat));
  if (preface.current > 1) return refuse("(it is damaged: its beginning)");
  const Extent& extent = preface.extents[preface.current];
  if (extent.bytes > size - kPreface)
    return refuse(fmt::format("(it is cut off: {} of {} bytes are there)", size - kPreface, extent.bytes));
  if (extent.bytes == 0) return refuse("(nothing was recorded)");
  file.events_ = file.whole_.subspan(kPreface, static_cast<std::size_t>(extent.bytes));
  if (crc32c(file.events_) != extent.sum) return refuse("(it is damaged: its checksum differs)");
  return file;
}

}  // namespace horus::io::replay
