// SPDX-License-Identifier: Apache-2.0
#include <horus/io/backend.hpp>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/mounts.hpp>
#include <horus/io/reactor.hpp>

namespace horus::io {
namespace {
int or_errno(int result) noexcept { return result < 0 ? -errno : result; }

// 0, or -errno and none.
int move_both(int ends[2]) noexcept {
  ends[0] = above_standard(ends[0]);
  ends[1] = above_standard(ends[1]);
  if (ends[0] >= 0 && ends[1] >= 0) return 0;
  const int problem = errno;
  for (const int end : {ends[0], ends[1]}) {
    if (end >= 0) ::close(end);
  }
  return -problem;
}

std::int64_t system_wall_clock_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
}  // namespace

Backend::~Backend() = default;

std::uint64_t Backend::next_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

bool Backend::send_completion(std::uint64_t) noexcept { return false; }
int Backend::register_file(int) noexcept { return -EOPNOTSUPP; }
void Backend::unregister_file(int) noexcept {}
void Backend::may_be_another(int) noexcept {}
bool Backend::let_go(int) noexcept { return true; }

std::int64_t Backend::now_ns() noexcept { return monotonic_ns(); }
std::int64_t Backend::wall_clock_ns() noexcept { return system_wall_clock_ns(); }
void Backend::exit_now(int code) noexcept { std::_Exit(code); }
int Backend::socket(int domain, int type, int protocol) noexcept {
  return or_errno(above_standard(::socket(domain, type | SOCK_CLOEXEC, protocol)));
}
int Backend::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  return or_errno(::bind(fd, address, size));
}
int Backend::listen(int fd, int backlog) noexcept { return or_errno(::listen(fd, backlog)); }
int Backend::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  return or_errno(::setsockopt(fd, level, option, value, size));
}
int Backend::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  return or_errno(::getsockopt(fd, level, option, value, size));
}
int Backend::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return or_errno(::getsockname(fd, address, size));
}
int Backend::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return or_errno(::getpeername(fd, address, size));
}
int Backend::pipe(int ends[2], int flags) noexcept {
  return ::pipe2(ends, flags | O_CLOEXEC) < 0 ? -errno : move_both(ends);
}
int Backend::socket_pair(int ends[2], int domain, int type) noexcept {
  return ::socketpair(domain, type | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : move_both(ends);
}
int Backend::event_fd(unsigned initial, int flags) noexcept {
  return or_errno(above_standard(::eventfd(initial, flags | EFD_CLOEXEC)));
}
void Backend::ring(int event_fd, std::uint64_t count) noexcept {
  const int saved = errno;
  [[maybe_unused]] const ssize_t written = ::write(event_fd, &count, sizeof count);
  errno = saved;
}
int Backend::status_flags(int fd) noexcept { return or_errno(::fcntl(fd, F_GETFL)); }
int Backend::close_descriptor(int fd) noexcept { return or_errno(::close(fd)); }
int Backend::duplicate(int fd) noexcept { return or_errno(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
int Backend::list_directory(int fd, void* buffer, std::size_t size) noexcept {
  return or_errno(static_cast<int>(::syscall(SYS_getdents64, fd, buffer, size)));
}
ssize_t Backend::read_link(const char* path, char* target, std::size_t size) noexcept {
  const ssize_t length = ::readlink(path, target, size);
  return length < 0 ? -errno : length;
}
int Backend::access(const char* path, int mode) noexcept {
  return or_errno(::faccessat(AT_FDCWD, path, mode, AT_EACCESS));
}
int Backend::change_mode(const char* path, mode_t mode) noexcept { return or_errno(::chmod(path, mode)); }
void Backend::remove_tree(const char* path) noexcept {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}
int Backend::truncate(int fd, std::int64_t size) noexcept { return or_errno(::ftruncate(fd, size)); }
int Backend::make_fifo(const char* path, mode_t mode) noexcept { return or_errno(::mkfifo(path, mode)); }
int Backend::set_pipe_room(int fd, std::size_t bytes) noexcept {
  return or_errno(::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(bytes)));
}
int Backend::control_device(int fd, unsigned long request, void* argument) noexcept {
  return or_errno(::ioctl(fd, request, argument));
}
bool Backend::path_may_wait(int folder, const char* path) noexcept {
  return detail::path_may_wait(folder, path);
}
bool Backend::file_may_wait(int fd, const char* path) noexcept { return detail::file_may_wait(fd, path); }
int Backend::open_terminal_again(int fd) noexcept {
  int number = 0;
  if (::isatty(fd) != 1 || ::ioctl(fd, TIOCGPTN, &number) == 0) return -ENOTTY;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return or_errno(above_standard(::open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
}
ssize_t Backend::transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept {
  const ssize_t moved = writing ? ::writev(fd, parts, count) : ::readv(fd, parts, count);
  return moved < 0 ? -errno : moved;
}
int Backend::use_fifo(int fd) noexcept {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return -errno;
  if (!S_ISFIFO(status.st_mode)) return -EINVAL;
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : or_errno(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}
bool Backend::run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept { return pool.submit(job); }
bool Backend::take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept { return pool.cancel(job); }
void Backend::spend(std::string_view) noexcept {}
std::uint64_t Backend::choose(std::uint64_t) noexcept { return 0; }
void Backend::random_bytes(void* out, std::size_t size) noexcept {
  auto* bytes = static_cast<unsigned char*>(out);
  while (size > 0) {
    const ssize_t got = ::getrandom(bytes, size, 0);
    if (got <= 0) continue;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
}

}  // namespace horus::io

std::int64_t horus::wall_clock_ns() noexcept {
  io::Reactor* reactor = io::Reactor::current();
  return reactor != nullptr ? reactor->backend().wall_clock_ns() : io::system_wall_clock_ns();
}
