// SPDX-License-Identifier: Apache-2.0
// The instruction set of the seam: one home for each instruction. How its entry is filled (`fill::`), what it is called,
// what it works on, which memory it reads and writes, and how a blocking call does the same. Everybody who deals with
// entries (awaiters, the epoll interpreter, pool threads, simulation, checks, fault injection, `horus doctor`) reads
// these rows; nobody else names an opcode to fill an entry. Argument places are those of io_uring_enter(2).
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// Where the bytes that an instruction moves lie.
enum class Payload : std::uint8_t {
  none,
  bytes,    ///< `len` bytes at `addr`
  vectors,  ///< `len` iovecs at `addr`
  message,  ///< the iovecs of the msghdr at `addr`
};
enum class Direction : std::uint8_t {
  none,
  in,   ///< from the file into memory
  out,  ///< from memory into the file
};
/// What an instruction works on: a close of that descriptor ends it, or does not.
enum class Subject : std::uint8_t {
  none,
  descriptor,  ///< `fd`
  path,        ///< the name at `addr`, looked up from the folder `fd` where that is one
  two_paths,   ///< the names at `addr` and `addr2`
};

/// The same as a blocking system call, for a pool thread: its result, or -1 with errno.
using BlockingCall = ssize_t (*)(const io_uring_sqe& entry) noexcept;

struct Instruction {
  std::uint8_t opcode;
  const char* name;  ///< for a person, and for whoever injects a fault
  Payload payload;
  Direction direction;
  Subject subject;
  BlockingCall blocking;  ///< null: it waits for a peer, which no pool thread does
};

namespace blocking {

HORUS_API ssize_t read(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t write(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t read_vectors(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t write_vectors(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t open(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t status(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t sync(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t allocate(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t unlink(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t rename(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t make_directory(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t make_symlink(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t make_link(const io_uring_sqe& entry) noexcept;
HORUS_API ssize_t close(const io_uring_sqe& entry) noexcept;

}  // namespace blocking

/// The rows. A backend completes anything else with -EINVAL.
inline constexpr std::array kInstructions = {
    // clang-format off
    Instruction{IORING_OP_NOP,          "nop",         Payload::none,    Direction::none, Subject::none,       nullptr},
    Instruction{IORING_OP_ACCEPT,       "accept",      Payload::none,    Direction::none, Subject::descriptor, nullptr},
    Instruction{IORING_OP_CONNECT,      "connect",     Payload::none,    Direction::none, Subject::descriptor, nullptr},
    Instruction{IORING_OP_RECV,         "recv",        Payload::bytes,   Direction::in,   Subject::descriptor, nullptr},
    Instruction{IORING_OP_SEND,         "send",        Payload::bytes,   Direction::out,  Subject::descriptor, nullptr},
    Instruction{IORING_OP_RECVMSG,      "recvmsg",     Payload::message, Direction::in,   Subject::descriptor, nullptr},
    Instruction{IORING_OP_SENDMSG,      "sendmsg",     Payload::message, Direction::out,  Subject::descriptor, nullptr},
    Instruction{IORING_OP_READ,         "read",        Payload::bytes,   Direction::in,   Subject::descriptor, &blocking::read},
    Instruction{IORING_OP_WRITE,        "write",       Payload::bytes,   Direction::out,  Subject::descriptor, &blocking::write},
    Instruction{IORING_OP_READV,        "readv",       Payload::vectors, Direction::in,   Subject::descriptor, &blocking::read_vectors},
    Instruction{IORING_OP_WRITEV,       "writev",      Payload::vectors, Direction::out,  Subject::descriptor, &blocking::write_vectors},
    Instruction{IORING_OP_READ_FIXED,   "read_fixed",  Payload::bytes,   Direction::in,   Subject::descriptor, &blocking::read},
    Instruction{IORING_OP_WRITE_FIXED,  "write_fixed", Payload::bytes,   Direction::out,  Subject::descriptor, &blocking::write},
    Instruction{IORING_OP_OPENAT,       "openat",      Payload::none,    Direction::none, Subject::path,       &blocking::open},
    Instruction{IORING_OP_STATX,        "statx",       Payload::none,    Direction::none, Subject::path,       &blocking::status},
    Instruction{IORING_OP_FSYNC,        "fsync",       Payload::none,    Direction::none, Subject::descriptor, &blocking::sync},
    Instruction{IORING_OP_FALLOCATE,    "fallocate",   Payload::none,    Direction::none, Subject::descriptor, &blocking::allocate},
    Instruction{IORING_OP_UNLINKAT,     "unlinkat",    Payload::none,    Direction::none, Subject::path,       &blocking::unlink},
    Instruction{IORING_OP_RENAMEAT,     "renameat",    Payload::none,    Direction::none, Subject::two_paths,  &blocking::rename},
    Instruction{IORING_OP_MKDIRAT,      "mkdirat",     Payload::none,    Direction::none, Subject::path,       &blocking::make_directory},
    Instruction{IORING_OP_SYMLINKAT,    "symlinkat",   Payload::none,    Direction::none, Subject::two_paths,  &blocking::make_symlink},
    Instruction{IORING_OP_LINKAT,       "linkat",      Payload::none,    Direction::none, Subject::two_paths,  &blocking::make_link},
    Instruction{IORING_OP_POLL_ADD,     "poll",        Payload::none,    Direction::none, Subject::descriptor, nullptr},
    Instruction{IORING_OP_ASYNC_CANCEL, "cancel",      Payload::none,    Direction::none, Subject::none,       nullptr},
    Instruction{IORING_OP_CLOSE,        "close",       Payload::none,    Direction::none, Subject::none,       &blocking::close},
    Instruction{IORING_OP_SHUTDOWN,     "shutdown",    Payload::none,    Direction::none, Subject::descriptor, nullptr},
    // clang-format on
};

namespace detail {

inline constexpr std::size_t kOpcodes = 256;
inline constexpr auto kRowOfOpcode = [] {
  std::array<std::uint8_t, kOpcodes> rows{};
  for (auto& row : rows) row = kInstructions.size();
  for (std::size_t i = 0; i < kInstructions.size(); ++i)
    rows[kInstructions[i].opcode] = static_cast<std::uint8_t>(i);
  return rows;
}();

}  // namespace detail

/// The row of an opcode; null when there is none.
constexpr const Instruction* instruction_of(std::uint8_t opcode) noexcept {
  const std::uint8_t row = detail::kRowOfOpcode[opcode];
  return row < kInstructions.size() ? &kInstructions[row] : nullptr;
}
constexpr bool is_transfer(std::uint8_t opcode, Direction direction) noexcept {
  const Instruction* instruction = instruction_of(opcode);
  return instruction != nullptr && instruction->direction == direction;
}

/// A stretch of memory that the kernel works on from an entry's submission until its completion.
struct Region {
  void* data;
  std::size_t size;  ///< bytes
  bool written;      ///< by the kernel; else it is only read
  bool is_payload;   ///< the bytes that the instruction moves, rather than a name, an address or a header
};

/// Calls `each(Region)` for all memory of `entry`, payload in its order. Buffers that the kernel chooses from a group are
/// not among them.
template <class Each>
void each_region(const io_uring_sqe& entry, Each&& each) {
  const Instruction* instruction = instruction_of(entry.opcode);
  if (instruction == nullptr) return;
  const auto at = [](std::uint64_t address) {
    return reinterpret_cast<void*>(address);  // NOLINT(performance-no-int-to-ptr): the ABI
  };
  const bool in = instruction->direction == Direction::in;
  const auto vectors = [&](const iovec* first, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) each(Region{first[i].iov_base, first[i].iov_len, in, true});
  };
  if ((entry.flags & IOSQE_BUFFER_SELECT) == 0) {
    switch (instruction->payload) {
      case Payload::none: break;
      case Payload::bytes: each(Region{at(entry.addr), entry.len, in, true}); break;
      case Payload::vectors: vectors(static_cast<const iovec*>(at(entry.addr)), entry.len); break;
      case Payload::message: {
        auto* message = static_cast<msghdr*>(at(entry.addr));
        vectors(message->msg_iov, message->msg_iovlen);
        each(Region{message, sizeof *message, in, false});
        if (message->msg_name != nullptr) each(Region{message->msg_name, message->msg_namelen, in, false});
        if (message->msg_control != nullptr)
          each(Region{message->msg_control, message->msg_controllen, in, false});
        break;
      }
    }
  }
  const auto name = [&](std::uint64_t address) {
    if (address != 0)
      each(Region{at(address), std::strlen(static_cast<const char*>(at(address))) + 1, false, false});
  };
  if (instruction->subject == Subject::path || instruction->subject == Subject::two_paths) name(entry.addr);
  if (instruction->subject == Subject::two_paths) name(entry.addr2);
  if (entry.opcode == IORING_OP_STATX) each(Region{at(entry.off), sizeof(struct ::statx), true, false});
  if (entry.opcode == IORING_OP_CONNECT)
    each(Region{at(entry.addr), static_cast<std::size_t>(entry.off), false, false});
  if (entry.opcode == IORING_OP_ACCEPT && entry.addr != 0) {
    auto* size = static_cast<socklen_t*>(at(entry.addr2));
    each(Region{size, sizeof *size, true, false});
    each(Region{at(entry.addr), *size, true, false});
  }
}

/// Fills a zeroed entry. What an instruction does not need stays zero.
namespace fill {

namespace detail {

template <std::uint8_t Opcode>
inline void begin(io_uring_sqe& entry, int fd) noexcept {
  static_assert(instruction_of(Opcode) != nullptr, "an instruction needs its row in kInstructions");
  entry.opcode = Opcode;
  entry.fd = fd;
}
inline std::uintptr_t address(const void* memory) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory);
}

}  // namespace detail

/// As the offset of a read or a write: at the descriptor's own position.
inline constexpr std::uint64_t kOwnPosition = ~std::uint64_t{0};

inline void nop(io_uring_sqe& entry) noexcept { detail::begin<IORING_OP_NOP>(entry, -1); }

template <std::uint8_t Opcode>
inline void transfer(io_uring_sqe& entry, int fd, const void* memory, std::uint32_t count,
                     std::uint64_t offset) noexcept {
  detail::begin<Opcode>(entry, fd);
  entry.addr = detail::address(memory);
  entry.len = count;
  entry.off = offset;
}
inline void read(io_uring_sqe& entry, int fd, void* memory, std::uint32_t bytes,
                 std::uint64_t offset) noexcept {
  transfer<IORING_OP_READ>(entry, fd, memory, bytes, offset);
}
inline void write(io_uring_sqe& entry, int fd, const void* memory, std::uint32_t bytes,
                  std::uint64_t offset) noexcept {
  transfer<IORING_OP_WRITE>(entry, fd, memory, bytes, offset);
}
inline void read_vectors(io_uring_sqe& entry, int fd, const iovec* parts, std::uint32_t count,
                         std::uint64_t offset) noexcept {
  transfer<IORING_OP_READV>(entry, fd, parts, count, offset);
}
inline void write_vectors(io_uring_sqe& entry, int fd, const iovec* parts, std::uint32_t count,
                          std::uint64_t offset) noexcept {
  transfer<IORING_OP_WRITEV>(entry, fd, parts, count, offset);
}

inline void receive(io_uring_sqe& entry, int fd, void* memory, std::uint32_t bytes) noexcept {
  detail::begin<IORING_OP_RECV>(entry, fd);
  entry.addr = detail::address(memory);
  entry.len = bytes;
}
/// Again and again, into buffers of a registered group.
inline void receive_chunks(io_uring_sqe& entry, int fd, std::uint16_t group) noexcept {
  detail::begin<IORING_OP_RECV>(entry, fd);
  entry.ioprio = IORING_RECV_MULTISHOT;
  entry.flags = IOSQE_BUFFER_SELECT;
  entry.buf_group = group;
}
inline void send(io_uring_sqe& entry, int fd, const void* memory, std::uint32_t bytes,
                 std::uint32_t message_flags) noexcept {
  detail::begin<IORING_OP_SEND>(entry, fd);
  entry.addr = detail::address(memory);
  entry.len = bytes;
  entry.msg_flags = message_flags;
}
inline void receive_message(io_uring_sqe& entry, int fd, msghdr& message,
                            std::uint32_t message_flags) noexcept {
  detail::begin<IORING_OP_RECVMSG>(entry, fd);
  entry.addr = detail::address(&message);
  entry.len = 1;
  entry.msg_flags = message_flags;
}
inline void send_message(io_uring_sqe& entry, int fd, const msghdr& message,
                         std::uint32_t message_flags) noexcept {
  detail::begin<IORING_OP_SENDMSG>(entry, fd);
  entry.addr = detail::address(&message);
  entry.len = 1;
  entry.msg_flags = message_flags;
}

inline void accept(io_uring_sqe& entry, int fd) noexcept {
  detail::begin<IORING_OP_ACCEPT>(entry, fd);
  entry.accept_flags = SOCK_CLOEXEC;
}
/// Again and again.
inline void accept_many(io_uring_sqe& entry, int fd) noexcept {
  accept(entry, fd);
  entry.ioprio = IORING_ACCEPT_MULTISHOT;
}
inline void connect(io_uring_sqe& entry, int fd, const sockaddr* peer, socklen_t size) noexcept {
  detail::begin<IORING_OP_CONNECT>(entry, fd);
  entry.addr = detail::address(peer);
  entry.off = size;
}
inline void shutdown(io_uring_sqe& entry, int fd, int how) noexcept {
  detail::begin<IORING_OP_SHUTDOWN>(entry, fd);
  entry.len = static_cast<std::uint32_t>(how);
}
/// One-shot; `events` as poll(2) has them.
inline void poll(io_uring_sqe& entry, int fd, short events) noexcept {
  detail::begin<IORING_OP_POLL_ADD>(entry, fd);
  std::uint32_t mask = static_cast<std::uint16_t>(events);
  if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) mask <<= 16;  // the kernel reads two half words
  entry.poll32_events = mask;
}

/// The operation whose entry had this user_data.
inline void cancel(io_uring_sqe& entry, std::uint64_t user_data) noexcept {
  detail::begin<IORING_OP_ASYNC_CANCEL>(entry, -1);
  entry.addr = user_data;
}
inline void cancel_all(io_uring_sqe& entry) noexcept {
  detail::begin<IORING_OP_ASYNC_CANCEL>(entry, -1);
  entry.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
}
inline void close(io_uring_sqe& entry, int fd) noexcept { detail::begin<IORING_OP_CLOSE>(entry, fd); }

/// Paths are looked up from `folder` (AT_FDCWD: the working directory). They must live until the completion.
inline void open(io_uring_sqe& entry, int folder, const char* path, int flags, mode_t mode) noexcept {
  detail::begin<IORING_OP_OPENAT>(entry, folder);
  entry.addr = detail::address(path);
  entry.len = mode;
  entry.open_flags = static_cast<std::uint32_t>(flags);
}
inline void status(io_uring_sqe& entry, int folder, const char* path, int flags, std::uint32_t mask,
                   struct ::statx& status) noexcept {
  detail::begin<IORING_OP_STATX>(entry, folder);
  entry.addr = detail::address(path);
  entry.len = mask;
  entry.off = detail::address(&status);
  entry.statx_flags = static_cast<std::uint32_t>(flags);
}
inline void unlink(io_uring_sqe& entry, int folder, const char* path, int flags) noexcept {
  detail::begin<IORING_OP_UNLINKAT>(entry, folder);
  entry.addr = detail::address(path);
  entry.unlink_flags = static_cast<std::uint32_t>(flags);
}
inline void make_directory(io_uring_sqe& entry, int folder, const char* path, mode_t mode) noexcept {
  detail::begin<IORING_OP_MKDIRAT>(entry, folder);
  entry.addr = detail::address(path);
  entry.len = mode;
}
inline void rename(io_uring_sqe& entry, const char* from, const char* to) noexcept {
  detail::begin<IORING_OP_RENAMEAT>(entry, AT_FDCWD);
  entry.addr = detail::address(from);
  entry.len = static_cast<std::uint32_t>(AT_FDCWD);
  entry.addr2 = detail::address(to);
}
inline void make_symlink(io_uring_sqe& entry, const char* target, const char* path) noexcept {
  detail::begin<IORING_OP_SYMLINKAT>(entry, AT_FDCWD);
  entry.addr = detail::address(target);
  entry.addr2 = detail::address(path);
}
inline void make_link(io_uring_sqe& entry, const char* existing, const char* path) noexcept {
  detail::begin<IORING_OP_LINKAT>(entry, AT_FDCWD);
  entry.addr = detail::address(existing);
  entry.len = static_cast<std::uint32_t>(AT_FDCWD);
  entry.addr2 = detail::address(path);
}
inline void sync(io_uring_sqe& entry, int fd, bool data_only) noexcept {
  detail::begin<IORING_OP_FSYNC>(entry, fd);
  entry.fsync_flags = data_only ? IORING_FSYNC_DATASYNC : 0;
}
/// Takes room on the disk, and extends the file's size.
inline void allocate(io_uring_sqe& entry, int fd, std::uint64_t offset, std::uint64_t size) noexcept {
  detail::begin<IORING_OP_FALLOCATE>(entry, fd);
  entry.off = offset;
  entry.addr = size;
}

}  // namespace fill

}  // namespace horus::HORUS_ABI::io
