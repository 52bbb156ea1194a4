// SPDX-License-Identifier: Apache-2.0
// The part of the io_uring ABI that is newer than the oldest headers Horus builds with (Linux 6.1), and the raw
// system calls. Every use of a newer kernel feature goes through this file.
#pragma once

#include <horus/base/compiler.hpp>

#include <csignal>
#include <cstdint>

#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace horus::HORUS_ABI::io::abi {

inline constexpr std::uint32_t kEnterAbsoluteTimer = 1U << 5;  // IORING_ENTER_ABS_TIMER, Linux 6.12
inline constexpr unsigned kRegisterSendMessage = 31;           // IORING_REGISTER_SEND_MSG_RING, Linux 6.13

static_assert(sizeof(io_uring_sqe) == 64, "submission entries are 64 bytes");
static_assert(sizeof(io_uring_cqe) == 16, "completion entries are 16 bytes");
static_assert(sizeof(io_uring_getevents_arg) == 24, "the wait argument is 24 bytes");

inline int enter(int ring, std::uint32_t to_submit, std::uint32_t min_complete, std::uint32_t flags,
                 const void* argument, std::size_t size) noexcept {
  return static_cast<int>(
      ::syscall(__NR_io_uring_enter, ring, to_submit, min_complete, flags, argument, size));
}
inline int register_op(int ring, unsigned opcode, const void* argument, unsigned count) noexcept {
  return static_cast<int>(::syscall(__NR_io_uring_register, ring, opcode, argument, count));
}
// Posts a completion into `ring` without a ring of one's own. 0, or -1 with errno.
inline int send_message(int ring, std::uint64_t user_data) noexcept {
  io_uring_sqe entry{};
  entry.opcode = IORING_OP_MSG_RING;
  entry.fd = ring;
  entry.off = user_data;
  return register_op(-1, kRegisterSendMessage, &entry, 1);
}

}  // namespace horus::HORUS_ABI::io::abi
