// SPDX-License-Identifier: Apache-2.0
// The seam: a backend consumes io_uring submission entries and produces completion entries. Everything above it
// (awaitables, scheduler, user code) is the same on every backend. One thread; owned by its Reactor.
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <linux/io_uring.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/thread_pool.hpp>

namespace horus::io {

class ProcessOptions;
struct SignalClaim;

/// The two rings that a reactor and its backend share. The reactor writes entries and the submission tail, and reads
/// completions and moves the completion head; the backend does the other half. Indices run freely; the low bits
/// (`entries` is a power of two) select the slot.
struct Rings {
  io_uring_sqe* sqes = nullptr;
  std::uint32_t sq_entries = 0;
  std::uint32_t* sq_head = nullptr;
  std::uint32_t* sq_tail = nullptr;
  io_uring_cqe* cqes = nullptr;
  std::uint32_t cq_entries = 0;
  std::uint32_t* cq_head = nullptr;
  std::uint32_t* cq_tail = nullptr;
  /// IORING_SQ_CQ_OVERFLOW: completions wait outside the ring; IORING_SQ_TASKRUN: an enter would produce some.
  const std::uint32_t* sq_flags = nullptr;
};

/// How a descriptor is to be closed without holding the loop up.
enum class Closing : std::uint8_t {
  at_once,  ///< close(2) takes no time: sockets, pipes, counters
  entry,    ///< IORING_OP_CLOSE: files, which may be written back then
  room,     ///< a thread: a socket that lingers, a serial line, a block device, a file of a server
};

/// Instruction set: NOP · ACCEPT (single, multishot) · CONNECT · RECV (plain; multishot with a buffer ring) · SEND
/// (MSG_WAITALL, MSG_DONTWAIT) · RECVMSG · SENDMSG · READ · WRITE · READV · WRITEV · READ_FIXED · WRITE_FIXED ·
/// OPENAT · STATX · FSYNC · FALLOCATE · UNLINKAT · RENAMEAT · MKDIRAT · SYMLINKAT · LINKAT · POLL_ADD (one-shot) ·
/// ASYNC_CANCEL (by user_data; by descriptor, ALL; ANY|ALL) · CLOSE · SHUTDOWN. Anything else completes with -EINVAL.
///
/// IOSQE_ASYNC asks that the call be made on another thread, for files that may keep it waiting; interpreters make
/// calls on files there in any case.
///
/// A SEND with MSG_DONTWAIT | MSG_WAITALL and IOSQE_CQE_SKIP_SUCCESS completes only when it failed or was short.
///
/// Unspecified on purpose: the order of completions of different operations; who wins a cancel against data; when
/// ENOBUFS appears; short sizes. A cancel's own completion may come before its target's.
class HORUS_API Backend {
 public:
  virtual ~Backend();

  [[nodiscard]] const Rings& rings() const noexcept { return rings_; }
  [[nodiscard]] virtual const char* name() const noexcept = 0;

  /// Consumes `to_submit` entries, then waits until `min_complete` completions lie in the ring or `deadline_ns`
  /// (CLOCK_MONOTONIC; kNever: no limit) has come. With min_complete 0 it does not wait, but still produces what is
  /// ready. May return early with nothing. Returns the number of entries consumed, or -errno: EINTR (nothing lost,
  /// call again), EBUSY/EAGAIN (reap completions, call again).
  virtual int enter(std::uint32_t to_submit, std::uint32_t min_complete,
                    std::int64_t deadline_ns) noexcept = 0;

  /// A descriptor that becomes readable when an enter() would produce completions, for embedding in another loop.
  /// -errno when it cannot be made. `clear_pollable()` before the emptiness check that precedes sleeping.
  virtual int pollable_fd() noexcept = 0;
  virtual void clear_pollable() noexcept = 0;

  /// Puts a completion with this user_data and result 0 into the ring, which ends the wait of an enter(). Any thread,
  /// while the backend lives. False: it cannot be done here, or not now; ring() a descriptor that the ring reads.
  virtual bool send_completion(std::uint64_t user_data) noexcept;

  /// Provided buffers: `entries` (a power of two) slots of io_uring_buf at `ring`, page-aligned, as group `group`.
  virtual int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                                   std::uint16_t group) noexcept = 0;
  virtual int unregister_buffer_ring(std::uint16_t group) noexcept = 0;
  /// Fixed buffers for READ_FIXED and WRITE_FIXED, replacing earlier ones.
  virtual int register_buffers(const iovec* buffers, unsigned count) noexcept = 0;
  virtual int unregister_buffers() noexcept = 0;

  /// Differs for every backend that this process ever made: tells whose a registered file is.
  [[nodiscard]] std::uint64_t id() const noexcept { return id_; }
  /// A hint that only some backends take: keeps `fd` in a table, and gives its place there, which entries may name
  /// with IOSQE_FIXED_FILE instead. The table holds the file open until the place is given back, when no entry can name
  /// it any more. -errno: name the descriptor as ever.
  virtual int register_file(int fd) noexcept;
  virtual void unregister_file(int place) noexcept;
  /// A hint: `fd` may name another file than when it was used last, because somebody closes descriptors without this
  /// backend (another runtime in the process).
  virtual void may_be_another(int fd) noexcept;

  // What does not go through an entry, so that a simulator can answer it too. Kernel calls by default; each returns
  // -errno on failure.
  [[nodiscard]] virtual std::int64_t now_ns() noexcept;
  /// UTC since 1970.
  [[nodiscard]] virtual std::int64_t wall_clock_ns() noexcept;
  /// True when now_ns() is not the kernel's clock.
  [[nodiscard]] virtual bool has_virtual_clock() const noexcept { return false; }
  /// Below `count`: which of as many tasks that are ready at the same time goes first, where that is chance. 0: the first.
  [[nodiscard]] virtual std::uint64_t choose(std::uint64_t count) noexcept;
  /// A tick of `node` begins: a world whose code takes no time of its own lets the node's cost pass here.
  virtual void spend(std::string_view node) noexcept;
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
  virtual void ring(int event_fd, std::uint64_t count) noexcept;
  /// The open file description's flags, as F_GETFL gives them.
  virtual int status_flags(int fd) noexcept;
  /// Closes a descriptor that nothing waits on. -EBUSY: something works on it by its number; use an entry.
  virtual int close_descriptor(int fd) noexcept;
  /// What closing it may cost. Asked for each close; never waits.
  virtual Closing closing_of(int fd) noexcept;
  /// Another thread is about to close `fd`: keeps nothing of it. False: something works on it by its number; use an
  /// entry.
  virtual bool let_go(int fd) noexcept;
  /// Hands work to a pool, and takes it back when it has not started.
  virtual bool run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept;
  virtual bool take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept;
  /// Another number for the same open file.
  virtual int duplicate(int fd) noexcept;
  // Calls that may block: any thread, so that a pool's can make them.
  virtual int list_directory(int fd, void* buffer, std::size_t size) noexcept;  ///< as getdents64
  virtual ssize_t read_link(const char* path, char* target, std::size_t size) noexcept;
  virtual int access(const char* path, int mode) noexcept;  ///< with the effective user's rights
  virtual int change_mode(const char* path, mode_t mode) noexcept;
  virtual int truncate(int fd, std::int64_t size) noexcept;
  /// Removes a folder with all that is in it, as far as that is possible.
  virtual void remove_tree(const char* path) noexcept;
  virtual void random_bytes(void* out, std::size_t size) noexcept;
  virtual int make_fifo(const char* path, mode_t mode) noexcept;
  /// The addresses of a host name; never empty.
  virtual Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port);
  /// What answers look-ups on the resolver's threads: a function, because a look-up that hangs may outlive this backend.
  /// Null: only `look_up` does, and it does not hang.
  using NameLookUp = Result<std::vector<Address>> (*)(const std::string& host, std::uint16_t port);
  [[nodiscard]] virtual NameLookUp name_look_up() noexcept;
  /// Starts a child; `descriptors` become its 0, 1 and 2 (-1: as the options' Redirect says). Its pid, or an Error.
  virtual Result<pid_t> spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors);

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
  // Processes and signals.
  virtual pid_t process_id() noexcept;
  /// Ends this process at once, without any destructor. Returns only in a simulated world, where nothing that happens
  /// afterwards reaches anybody.
  virtual void exit_now(int code) noexcept;
  /// As kill(2); with a value as sigqueue(3).
  virtual int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept;
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

 protected:
  Rings rings_;

 private:
  static std::uint64_t next_id() noexcept;
  const std::uint64_t id_ = next_id();
};

struct ReactorConfig;

/// Makes the backend of reactors that do not ask for a certain one (BackendChoice::automatic): a fault injector, a
/// simulated world. Null restores the usual choice. Gives the previous one. Any thread; reactors that exist stay.
using BackendMaker = Result<std::unique_ptr<Backend>> (*)(const ReactorConfig& config);
HORUS_API BackendMaker set_backend_maker(BackendMaker maker) noexcept;

/// Why io_uring cannot be had here, in words that name the likely cause and the mend.
HORUS_API std::string explain_uring_failure(int error);
/// A kernel ring, or -errno of the attempt as an Error ("io_uring_setup").
HORUS_API Result<std::unique_ptr<Backend>> make_uring_backend(const ReactorConfig& config);
/// The interpreter of the same entries over non-blocking calls, epoll and a thread pool.
HORUS_API Result<std::unique_ptr<Backend>> make_epoll_backend(const ReactorConfig& config);

}  // namespace horus::io
