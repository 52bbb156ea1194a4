// SPDX-License-Identifier: Apache-2.0
#include <horus/io/replay/log_file.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/background_thread.hpp>
#include <horus/base/crc32c.hpp>

namespace horus::HORUS_ABI::io::replay {
namespace {

constexpr Duration kLongestWait = std::chrono::milliseconds(10);  // of whoever appends, for room
constexpr std::uint64_t kStep = std::uint64_t{4} << 20;           // bytes by which the file grows

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
  // Beyond RLIMIT_FSIZE an allocation is an error value, as it is for every reactor, and not the end of the process.
  struct sigaction action{};
  if (::sigaction(SIGXFSZ, nullptr, &action) == 0 && action.sa_handler == SIG_DFL) ::signal(SIGXFSZ, SIG_IGN);
  // It has all that the program received, passwords too: nobody else's.
  const int fd = above_standard(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
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
  // The first pages at once.
  if (!writer->grow(kPreface)) {
    const int code = writer->problem() == 0 ? EFBIG : writer->problem();
    ::unlink(path.c_str());
    return Error(code, "record exactly", path);
  }
  Preface preface{};
  std::copy(std::begin(kMagic), std::end(kMagic), preface.magic);
  preface.format = kFormat;
  std::memcpy(writer->memory_, &preface, sizeof preface);
  writer->start_helper();
  return writer;
}

LogWriter::~LogWriter() {
  static_cast<void>(end_helper(Duration::max()));
  ::munmap(memory_, static_cast<std::size_t>(most_bytes_));
  [[maybe_unused]] const int ignored = ::ftruncate(fd_, static_cast<off_t>(kPreface + used_));
  ::close(fd_);
}

bool LogWriter::end_helper(Duration limit) noexcept {
  std::unique_lock lock(mutex_);
  ending_ = true;
  changed_.notify_all();
  const auto ended = [this] { return !helped_; };
  if (limit != Duration::max()) return changed_.wait_for(lock, limit, ended);
  changed_.wait(lock, ended);
  return true;
}

// Without it the loop makes room itself, with pauses of a millisecond.
void LogWriter::start_helper() noexcept {
  constexpr std::size_t kStackBytes = std::size_t{128} << 10;
  helped_ = horus::detail::start_background_thread(kStackBytes, &LogWriter::help, this) == 0;
}

void* LogWriter::help(void* self) noexcept {
  auto& writer = *static_cast<LogWriter*>(self);
  ::pthread_setname_np(::pthread_self(), "horus-seam");
  std::unique_lock lock(writer.mutex_);
  while (true) {
    writer.changed_.wait(lock, [&] {
      return writer.ending_ ||
             (!writer.refused_ && writer.wanted_ > writer.mapped_.load(std::memory_order_relaxed));
    });
    if (writer.ending_) break;
    const std::uint64_t wanted = writer.wanted_;
    lock.unlock();
    const bool grown = writer.grow(wanted);
    lock.lock();
    writer.refused_ = !grown;
    writer.changed_.notify_all();
  }
  writer.helped_ = false;
  writer.changed_.notify_all();
  return nullptr;
}

// The blocks are there before they are written to: on a full disk a write into a hole would be a SIGBUS. The helper,
// or whoever appends where there is none.
bool LogWriter::grow(std::uint64_t needed) noexcept {
  const std::uint64_t mapped = mapped_.load(std::memory_order_relaxed);
  if (needed <= mapped) return true;
  const std::uint64_t size = std::min((needed + kStep - 1) / kStep * kStep, most_bytes_);
  if (size < needed) return false;
  const std::size_t length = size - mapped;
  const int refused = ::posix_fallocate(fd_, static_cast<off_t>(mapped), static_cast<off_t>(length));
  if (refused != 0) {
    problem_.store(refused, std::memory_order_relaxed);
    return false;
  }
  void* const memory =
      ::mmap(memory_ + mapped, length, PROT_READ | PROT_WRITE, kShared, fd_, static_cast<off_t>(mapped));
  if (memory == MAP_FAILED) {
    problem_.store(errno, std::memory_order_relaxed);
    return false;
  }
  ::madvise(memory, length, MADV_DONTFORK);
  ::madvise(memory, length, MADV_POPULATE_WRITE);  // a kernel that cannot does it page by page
  mapped_.store(size, std::memory_order_release);
  return true;
}

bool LogWriter::has_room(std::uint64_t needed) noexcept {
  const std::uint64_t mapped = mapped_.load(std::memory_order_acquire);
  const bool soon = needed + kStep / 2 > mapped && asked_ != mapped;
  if (!soon && needed <= mapped) return true;
  std::unique_lock lock(mutex_);
  if (!helped_) return needed <= mapped || grow(needed);
  asked_ = mapped;
  wanted_ = std::max(needed, mapped + 1);
  changed_.notify_all();
  if (needed <= mapped) return true;
  // The loop does not stand still for a disk.
  const auto known = [&] { return refused_ || mapped_.load(std::memory_order_acquire) >= needed; };
  if (!changed_.wait_for(lock, kLongestWait, known)) problem_.store(ETIMEDOUT, std::memory_order_relaxed);
  return mapped_.load(std::memory_order_acquire) >= needed;
}

// One byte of what the file has room for is kept for the mark.
bool LogWriter::append(std::span<const std::byte> event) noexcept {
  if (!has_room(kPreface + used_ + event.size() + 1)) {
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
  preface.extents[current_] = {used_, sum_, std::to_integer<std::uint32_t>(event.front())};
  std::atomic_ref(preface.current).store(current_, std::memory_order_release);
}

// --- Reading ----------------------------------------------------------------------------------------------------------

LogFile::LogFile(LogFile&& other) noexcept
    : whole_(std::exchange(other.whole_, {})),
      events_(std::exchange(other.events_, {})),
      last_(other.last_) {}

LogFile& LogFile::operator=(LogFile&& other) noexcept {
  std::swap(whole_, other.whole_);
  std::swap(events_, other.events_);
  std::swap(last_, other.last_);
  return *this;
}

LogFile::~LogFile() {
  if (!whole_.empty()) ::munmap(const_cast<std::byte*>(whole_.data()), whole_.size());
}

Result<LogFile> LogFile::open(const std::string& path) {
  const int fd =
      above_standard(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));  // a FIFO waits for ever
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
  file.last_ = static_cast<Kind>(extent.last);
  return file;
}

}  // namespace horus::HORUS_ABI::io::replay
