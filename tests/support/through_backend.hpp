// SPDX-License-Identifier: Apache-2.0
// What tests want of descriptors and folders beside the API, asked from the backend, so that a simulated world can answer
// too. On the reactor's thread, inside a task, except where said.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/socket.h>

#include <doctest/doctest.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/directory.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sim/alone.hpp>

#include "real_kernel.hpp"

namespace horus::testing {

inline io::System& system() { return io::Reactor::current()->system(); }

/// Open descriptors of the kernel, and those that simulated worlds of this thread left open. Anywhere.
inline int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count + static_cast<int>(sim::descriptors_left_open());
}

/// Open descriptors of the world that runs now.
inline int open_descriptors_here() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += system().status_flags(fd) >= 0 ? 1 : 0;
  return count;
}

struct Ends {
  io::Descriptor first, second;
};
/// Two connected sockets.
inline Ends socket_pair() {
  int ends[2];
  REQUIRE(system().socket_pair(ends, AF_UNIX, SOCK_STREAM) == 0);
  return {io::Descriptor(ends[0]), io::Descriptor(ends[1])};
}
/// A pipe: its reading end first.
inline Ends pipe_ends(int flags = 0) {
  int ends[2];
  REQUIRE(system().pipe(ends, flags) == 0);
  return {io::Descriptor(ends[0]), io::Descriptor(ends[1])};
}

inline int option_of(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  REQUIRE(system().get_option(fd, level, name, &value, &size) == 0);
  return value;
}

/// One WRITE or SEND as the kernel does it: bytes, or -errno.
struct RawWrite : io::OperationAwaiter<RawWrite> {
  static constexpr const char* kName = "write";
  RawWrite(int descriptor, std::string_view data, int send_flags = -1) noexcept
      : OperationAwaiter(descriptor), data_(data), send_flags_(send_flags) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    entry.opcode = send_flags_ < 0 ? IORING_OP_WRITE : IORING_OP_SEND;
    entry.fd = fd;
    entry.addr = reinterpret_cast<std::uintptr_t>(data_.data());
    entry.len = static_cast<std::uint32_t>(data_.size());
    if (send_flags_ >= 0) entry.msg_flags = static_cast<std::uint32_t>(send_flags_);
  }
  [[nodiscard]] int await_resume() const noexcept { return result; }

 private:
  std::string_view data_;
  int send_flags_;
};

/// Writes all of `text`, which must find room.
inline Task<> put(int fd, std::string text) {
  int written = co_await RawWrite(fd, text);
  REQUIRE(written == static_cast<int>(text.size()));
}

/// A folder for one test case, on whatever disk its reactors have. Made and removed by reactors of its own.
class Folder {
 public:
  Folder() {
    auto creating = io::fs::TemporaryDirectory::create("horus-test");
    path = io::run(std::move(creating)).or_throw().release();
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    auto removing = io::fs::remove_all(path);
    static_cast<void>(io::run(std::move(removing)));
  }
  std::string operator/(std::string_view name) const { return path + '/' + std::string(name); }

  std::string path;
};

}  // namespace horus::testing
