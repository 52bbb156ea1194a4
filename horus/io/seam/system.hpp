// SPDX-License-Identifier: Apache-2.0
// The seam's third part: calls that do not go through an entry, so that a simulator or a recorder can answer them too.
// Kernel calls by default; each returns -errno on failure.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/base/thread_pool.hpp>

namespace horus::HORUS_ABI::io {

class ProcessOptions;
struct SignalClaim;

/// How a descriptor is to be closed without holding the loop up.
enum class Closing : std::uint8_t {
  at_once,  ///< close(2) takes no time: sockets, pipes, counters
  entry,    ///< IORING_OP_CLOSE: files, which may be written back then
  room,     ///< a thread: a socket that lingers, a serial line, a block device, a file of a server
};

/// The machine as one process sees it.
///
/// Thread safety: each group of functions says which threads may call it. In a simulated world there is only one.
class HORUS_API System {
 public:
  /// The kernel's. One for all reactors.
  static std::shared_ptr<System> kernel() noexcept;
  /// That of the calling thread's reactor; the kernel's when the thread has none.
  static System& here() noexcept;
  virtual ~System();

  // --- What kind of machine it is. Any thread.

  /// Which process of which simulated world this is: differs for each of them. 0: a process of the kernel's.
  [[nodiscard]] virtual std::uint64_t world_process() const noexcept;
  /// Descriptors are the kernel's, and mean the same to a call that goes round the seam.
  [[nodiscard]] virtual bool has_kernel_descriptors() const noexcept;
  /// Other threads may exist, and settings of threads mean something.
  [[nodiscard]] virtual bool has_threads() const noexcept;

  // --- Sockets, pipes, descriptors. The loop; none of these waits for anybody.

  virtual int socket(int domain, int type, int protocol) noexcept;
  virtual int bind(int fd, const sockaddr* address, socklen_t size) noexcept;
  virtual int listen(int fd, int backlog) noexcept;
  virtual int set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept;
  virtual int get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept;
  virtual int local_address(int fd, sockaddr* address, socklen_t* size) noexcept;
  virtual int peer_address(int fd, sockaddr* address, socklen_t* size) noexcept;
  virtual int pipe(int ends[2], int flags) noexcept;
  virtual int socket_pair(int ends[2], int domain, int type) noexcept;
  virtual int event_fd(unsigned initial, int flags) noexcept;
  /// Adds `count` to an eventfd. Any thread, also a signal handler; a full counter is as good.
  virtual void add_to_event(int event_fd, std::uint64_t count) noexcept;
  /// The open file description's flags, as F_GETFL gives them.
  virtual int status_flags(int fd) noexcept;
  /// What closing it may cost. Asked for each close; never waits.
  virtual Closing closing_of(int fd) noexcept;
  /// Another number for the same open file.
  virtual int duplicate(int fd) noexcept;
  /// connect(2) on a non-blocking socket.
  virtual int connect(int fd, const sockaddr* to, socklen_t size) noexcept;
  /// send(2) with MSG_DONTWAIT.
  virtual ssize_t send(int fd, const void* data, std::size_t size) noexcept;
  virtual ssize_t read(int fd, void* data, std::size_t size) noexcept;  ///< read(2) of what never waits
  /// close(2), of what no operation is in flight on. Any thread.
  virtual void close(int fd) noexcept;
  /// From now on reading and writing wait on `fd`, a FIFO that was opened with O_NONBLOCK. -EINVAL: it is none.
  virtual int use_fifo(int fd) noexcept;
  /// Room in a pipe, in bytes (F_SETPIPE_SZ); the kernel rounds up.
  virtual int set_pipe_room(int fd, std::size_t bytes) noexcept;
  /// True when looking up `path` (from `folder`), or reading and writing the open file `fd` that `path` named, may wait
  /// for somebody else: a server, a driver. Such operations carry IOSQE_ASYNC and leave the loop (detour.hpp).
  virtual bool path_may_wait(int folder, const char* path) noexcept;
  virtual bool file_may_wait(int fd, const char* path) noexcept;
  /// The terminal `fd` once more, as an open file of our own, non-blocking. -ENOTTY: it is none, or the other end of
  /// one, which opened again would be another; -EACCES: it is somebody else's (after su).
  virtual int open_terminal_again(int fd) noexcept;
  /// As readv(2) and writev(2) on a non-blocking descriptor.
  virtual ssize_t transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept;
  /// As ioctl(2), for terminals.
  virtual int control_device(int fd, unsigned long request, void* argument) noexcept;

  // --- Names of files, and memory that processes share. The loop; none of these waits for anybody but a local disk.

  virtual int make_folder(const char* path, mode_t mode) noexcept;     ///< mkdir(2)
  virtual int status(const char* path, struct stat& status) noexcept;  ///< lstat(2)
  virtual int rename(const char* from, const char* to) noexcept;       ///< rename(2)
  virtual int unlink(const char* path) noexcept;                       ///< unlink(2)
  virtual int open_folder(const char* path) noexcept;                  ///< open(2), and no link
  virtual int make_watch() noexcept;                                   ///< inotify_init1(2), IN_NONBLOCK
  /// inotify_add_watch(2), of a folder.
  virtual int watch_folder(int watch, const char* path, std::uint32_t events) noexcept;
  virtual int unwatch_folder(int watch, int number) noexcept;  ///< inotify_rm_watch(2)
  /// memfd_create(2), with sealing.
  virtual int make_memory(const char* name) noexcept;
  /// The kernel's file behind memory, for as long as `fd` is open: what fcntl(2) and mmap(2) take. -EBADF: `fd` is no
  /// file of the kernel's.
  virtual int kernel_file(int fd) noexcept;

  // --- Calls that may block. Any thread, so that a pool's can make them.

  virtual int list_directory(int fd, void* buffer, std::size_t size) noexcept;  ///< as getdents64
  virtual ssize_t read_link(const char* path, char* target, std::size_t size) noexcept;
  virtual int access(const char* path, int mode) noexcept;  ///< with the effective user's rights
  virtual int change_mode(const char* path, mode_t mode) noexcept;
  virtual int truncate(int fd, std::int64_t size) noexcept;
  /// Removes a folder with all that is in it, as far as that is possible.
  virtual void remove_tree(const char* path) noexcept;
  virtual int make_fifo(const char* path, mode_t mode) noexcept;
  /// The addresses of a host name; never empty.
  virtual Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port);
  /// What answers look-ups on the resolver's threads: a function, because a look-up that hangs may outlive this backend.
  /// Null: only `look_up` does, and it does not hang.
  using NameLookUp = Result<std::vector<Address>> (*)(const std::string& host, std::uint16_t port);
  [[nodiscard]] virtual NameLookUp name_look_up() noexcept;

  // --- Threads and chance. The loop.

  /// Hands work to a pool, and takes it back when it has not started.
  virtual bool run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept;
  virtual bool take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept;
  virtual void random_bytes(void* out, std::size_t size) noexcept;

  // --- Processes and signals. The loop, unless said otherwise.

  /// Starts a child; `descriptors` become its 0, 1 and 2 (-1: as the options' Redirect says). Its pid, or an Error.
  virtual Result<pid_t> spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors);
  virtual uid_t user() noexcept;                    ///< geteuid(2)
  virtual std::size_t descriptor_limit() noexcept;  ///< RLIMIT_NOFILE
  virtual pid_t process_id() noexcept;
  /// Ends this process at once, without any destructor. Returns only in a simulated world, where nothing that happens
  /// afterwards reaches anybody.
  virtual void exit_now(int code) noexcept;
  /// As kill(2); with a value as sigqueue(3).
  virtual int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept;
  /// What is to become of signal `number` (sigaction(2)): 0: what the kernel does by default; 1: nothing, it is ignored; 2: a
  /// handler runs.
  virtual int signal_action(int number) noexcept;
  /// A descriptor from which the signals of `claim` are read as signalfd_siginfo; -EBUSY: `claim.refused` has an owner.
  virtual int claim_signals(SignalClaim& claim) noexcept;
  virtual void release_signals(const SignalClaim& claim) noexcept;
  virtual int open_process(pid_t pid) noexcept;  ///< a pidfd: readable when that child has ended
  virtual int signal_process(int pidfd, int number) noexcept;
  /// Takes the exit status without waiting; `info.si_pid` 0: it runs. With `keep` it is only read: the child stays a
  /// zombie, and so its number, and that of its group, its own.
  virtual int reap(int pidfd, siginfo_t& info, bool keep) noexcept;
  /// Takes the status of a killed child that has no pidfd.
  virtual void reap_killed(pid_t pid) noexcept;
  /// Waits for the end of a killed child, at most so long; for the end of a reactor.
  virtual void await_end(int pidfd, int limit_ms) noexcept;
};

/// Closes `fd`, which process `world_process` of a world made (0: the kernel's), wherever it is called. What is left of a
/// process that has ended is closed already.
HORUS_API void close_of(std::uint64_t world_process, int fd) noexcept;

}  // namespace horus::HORUS_ABI::io
