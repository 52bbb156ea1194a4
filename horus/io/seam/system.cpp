// SPDX-License-Identifier: Apache-2.0
#include <horus/io/seam/system.hpp>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/base/mounts.hpp>

namespace horus::HORUS_ABI::io {
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
}  // namespace

// Never destroyed: threads that outlive main() may still ask it.
std::shared_ptr<System> System::kernel() noexcept {
  static const auto* const instance = new std::shared_ptr<System>(std::make_shared<System>());
  return *instance;
}
System::~System() = default;

std::uint64_t System::world_process() const noexcept { return 0; }
bool System::has_kernel_descriptors() const noexcept { return true; }
bool System::has_threads() const noexcept { return true; }

void System::exit_now(int code) noexcept { std::_Exit(code); }
int System::socket(int domain, int type, int protocol) noexcept {
  return or_errno(above_standard(::socket(domain, type | SOCK_CLOEXEC, protocol)));
}
int System::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  return or_errno(::bind(fd, address, size));
}
int System::listen(int fd, int backlog) noexcept { return or_errno(::listen(fd, backlog)); }
int System::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  return or_errno(::setsockopt(fd, level, option, value, size));
}
int System::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  return or_errno(::getsockopt(fd, level, option, value, size));
}
int System::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return or_errno(::getsockname(fd, address, size));
}
int System::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return or_errno(::getpeername(fd, address, size));
}
int System::pipe(int ends[2], int flags) noexcept {
  return ::pipe2(ends, flags | O_CLOEXEC) < 0 ? -errno : move_both(ends);
}
int System::socket_pair(int ends[2], int domain, int type) noexcept {
  return ::socketpair(domain, type | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : move_both(ends);
}
int System::event_fd(unsigned initial, int flags) noexcept {
  return or_errno(above_standard(::eventfd(initial, flags | EFD_CLOEXEC)));
}
void System::add_to_event(int event_fd, std::uint64_t count) noexcept {
  const int saved = errno;
  [[maybe_unused]] const ssize_t written = ::write(event_fd, &count, sizeof count);
  errno = saved;
}
int System::status_flags(int fd) noexcept { return or_errno(::fcntl(fd, F_GETFL)); }
int System::duplicate(int fd) noexcept { return or_errno(::fcntl(fd, F_DUPFD_CLOEXEC, 3)); }
int System::list_directory(int fd, void* buffer, std::size_t size) noexcept {
  return or_errno(static_cast<int>(::syscall(SYS_getdents64, fd, buffer, size)));
}
ssize_t System::read_link(const char* path, char* target, std::size_t size) noexcept {
  const ssize_t length = ::readlink(path, target, size);
  return length < 0 ? -errno : length;
}
int System::access(const char* path, int mode) noexcept {
  return or_errno(::faccessat(AT_FDCWD, path, mode, AT_EACCESS));
}
int System::change_mode(const char* path, mode_t mode) noexcept { return or_errno(::chmod(path, mode)); }
void System::remove_tree(const char* path) noexcept {
  std::error_code ignored;
  std::filesystem::remove_all(path, ignored);
}
int System::truncate(int fd, std::int64_t size) noexcept { return or_errno(::ftruncate(fd, size)); }
int System::make_fifo(const char* path, mode_t mode) noexcept { return or_errno(::mkfifo(path, mode)); }
int System::set_pipe_room(int fd, std::size_t bytes) noexcept {
  return or_errno(::fcntl(fd, F_SETPIPE_SZ, static_cast<int>(bytes)));
}
int System::control_device(int fd, unsigned long request, void* argument) noexcept {
  return or_errno(::ioctl(fd, request, argument));
}
bool System::path_may_wait(int folder, const char* path) noexcept {
  return detail::path_may_wait(folder, path);
}
bool System::file_may_wait(int fd, const char* path) noexcept { return detail::file_may_wait(fd, path); }
int System::open_terminal_again(int fd) noexcept {
  int number = 0;
  if (::isatty(fd) != 1 || ::ioctl(fd, TIOCGPTN, &number) == 0) return -ENOTTY;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return or_errno(above_standard(::open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)));
}
ssize_t System::transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept {
  const ssize_t moved = writing ? ::writev(fd, parts, count) : ::readv(fd, parts, count);
  return moved < 0 ? -errno : moved;
}
int System::use_fifo(int fd) noexcept {
  struct stat status{};
  if (::fstat(fd, &status) < 0) return -errno;
  if (!S_ISFIFO(status.st_mode)) return -EINVAL;
  const int flags = ::fcntl(fd, F_GETFL);
  return flags < 0 ? -errno : or_errno(::fcntl(fd, F_SETFL, flags & ~O_NONBLOCK));
}
bool System::run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept { return pool.submit(job); }
bool System::take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept { return pool.cancel(job); }
void System::random_bytes(void* out, std::size_t size) noexcept {
  auto* bytes = static_cast<unsigned char*>(out);
  while (size > 0) {
    const ssize_t got = ::getrandom(bytes, size, 0);
    if (got <= 0) continue;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
}

uid_t System::user() noexcept { return ::geteuid(); }
std::size_t System::descriptor_limit() noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<std::size_t>(limit.rlim_cur) : 1024;
}
int System::make_folder(const char* path, mode_t mode) noexcept { return or_errno(::mkdir(path, mode)); }
int System::status(const char* path, struct stat& status) noexcept {
  return or_errno(::lstat(path, &status));
}
int System::rename(const char* from, const char* to) noexcept { return or_errno(::rename(from, to)); }
int System::unlink(const char* path) noexcept { return or_errno(::unlink(path)); }
int System::open_folder(const char* path) noexcept {
  return or_errno(above_standard(::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)));
}
int System::connect(int fd, const sockaddr* to, socklen_t size) noexcept {
  return or_errno(::connect(fd, to, size));
}
ssize_t System::send(int fd, const void* data, std::size_t size) noexcept {
  const ssize_t sent = ::send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? -errno : sent;
}
ssize_t System::read(int fd, void* data, std::size_t size) noexcept {
  const ssize_t came = ::read(fd, data, size);
  return came < 0 ? -errno : came;
}
int System::make_watch() noexcept {
  return or_errno(above_standard(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
}
int System::watch_folder(int watch, const char* path, std::uint32_t events) noexcept {
  return or_errno(::inotify_add_watch(watch, path, events | IN_ONLYDIR));
}
int System::unwatch_folder(int watch, int number) noexcept {
  return or_errno(::inotify_rm_watch(watch, number));
}
int System::make_memory(const char* name) noexcept {
  return or_errno(above_standard(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING)));
}
int System::kernel_file(int fd) noexcept { return fd; }
void System::close(int fd) noexcept { ::close(fd); }

void close_of(std::uint64_t world_process, int fd) noexcept {
  if (System& here = System::here(); here.world_process() == world_process) {
    here.close(fd);
  } else if (world_process == 0) {
    ::close(fd);
  }
}

}  // namespace horus::HORUS_ABI::io
