// SPDX-License-Identifier: Apache-2.0
// Two worlds for the differential fuzz, the kernel's ring and the interpreter, with the same descriptors in each, and
// the operations that both carry out in step. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "backend_seam.hpp"

namespace fuzz {

constexpr int kSockets = 3;
constexpr int kPipes = 2;
constexpr int kStreams = kSockets + kPipes;  // then one eventfd and one file
constexpr int kEventFd = kStreams;
constexpr int kFile = kStreams + 1;
constexpr int kObjects = kStreams + 2;
constexpr std::uint16_t kGroup = 3;
constexpr std::uint32_t kBuffers = 8;
constexpr std::uint32_t kBufferSize = 48;

/// The byte at `position` of what is ever written into one direction of `object`.
inline char pattern(int object, int end, std::uint64_t position) {
  return static_cast<char>(
      (position * 131 + (position >> 8) * 7 + static_cast<std::uint64_t>(object * 2 + end) * 29) & 0xff);
}

/// One backend and its descriptors.
struct World {
  World(const char* label, horus::io::Backend backend) : name(label), driver(std::move(backend)) {
    ring = static_cast<io_uring_buf_ring*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ready = driver.ring().register_buffer_ring(ring, kBuffers, kGroup) == 0;
    for (std::uint16_t i = 0; i < kBuffers; ++i) provide(i);
    std::string path = "/tmp/horus-fuzz-XXXXXX";
    fds[kFile][0] = ::mkostemp(path.data(), O_CLOEXEC);
    ::unlink(path.c_str());
    for (int object = 0; object < kFile; ++object) open(object);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    io_uring_sqe& all = driver.entry(IORING_OP_ASYNC_CANCEL, -1, 1);
    all.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
    driver.take(1);
    for (auto& ends : fds) {
      for (const int fd : ends) {
        if (fd >= 0) ::close(fd);
      }
    }
    driver.ring().unregister_buffer_ring(kGroup);
    ::munmap(ring, 4096);
  }

  void open(int object) {
    auto& ends = fds[static_cast<std::size_t>(object)];
    if (object < kSockets) {
      ready = ready && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0;
    } else if (object < kStreams) {
      ready = ready && ::pipe2(ends.data(), O_CLOEXEC) == 0;
    } else {
      ends[0] = ::eventfd(0, EFD_CLOEXEC);
      ready = ready && ends[0] >= 0;
    }
    written[static_cast<std::size_t>(object)] = received[static_cast<std::size_t>(object)] = {};
  }
  void provide(std::uint16_t number) {
    auto* slots = reinterpret_cast<io_uring_buf*>(ring);
    io_uring_buf& slot = slots[tail & (kBuffers - 1)];
    slot.addr = seam::address(&bytes[number * kBufferSize]);
    slot.len = kBufferSize;
    slot.bid = number;
    __atomic_store_n(&ring->tail, ++tail, __ATOMIC_RELEASE);
  }

  const char* name;
  seam::Driver driver;
  bool ready = false;
  std::array<std::array<int, 2>, kObjects> fds = filled();
  /// Bytes that went into, and came out of, each direction; the direction is named by the end that writes.
  std::array<std::array<std::uint64_t, 2>, kObjects> written{};
  std::array<std::array<std::uint64_t, 2>, kObjects> received{};

 private:
  static constexpr std::array<std::array<int, 2>, kObjects> filled() {
    std::array<std::array<int, 2>, kObjects> none{};
    for (auto& ends : none) ends = {-1, -1};
    return none;
  }
  io_uring_buf_ring* ring;
  std::uint16_t tail = 0;
  std::array<char, kBuffers * kBufferSize> bytes{};

 public:
  [[nodiscard]] const char* buffer(std::uint16_t number) const { return &bytes[number * kBufferSize]; }
};

/// One operation, as both worlds carry it out.
struct Operation {
  std::uint64_t id = 0;
  std::uint8_t opcode = 0;
  std::uint8_t entry_flags = 0;
  std::uint16_t ioprio = 0;
  std::uint32_t flags = 0;  // msg_flags, poll events, cancel flags
  std::uint32_t length = 0;
  std::uint64_t target = 0;  // of a cancel
  std::int64_t offset = -1;
  int object = -1;  // -1: none
  int end = 0;
  bool reads = false;  // takes bytes from the stream
  bool writes = false;
  bool prompt = false;  // ends whatever happens
  struct Side {
    std::vector<char> data;
    std::array<iovec, 2> parts{};
    msghdr message{};
    std::vector<seam::Completion> seen;
    std::uint64_t taken = 0;  // bytes of a multishot
    bool ended = false;
  };
  std::array<Side, 2> sides;

  [[nodiscard]] bool selects() const { return (entry_flags & IOSQE_BUFFER_SELECT) != 0; }
  [[nodiscard]] bool multishot() const { return opcode == IORING_OP_RECV && ioprio != 0; }
  [[nodiscard]] bool peeks() const { return opcode == IORING_OP_RECV && (flags & MSG_PEEK) != 0; }

  void submit(World& world, std::size_t side) {
    Side& mine = sides[side];
    const int fd =
        object < 0 ? -1 : world.fds[static_cast<std::size_t>(object)][static_cast<std::size_t>(end)];
    io_uring_sqe& entry = world.driver.entry(opcode, fd, id);
    entry.flags = entry_flags;
    entry.ioprio = ioprio;
    if (selects()) {
      entry.buf_group = kGroup;
      entry.msg_flags = flags;
      return;
    }
    if (opcode == IORING_OP_ASYNC_CANCEL) {
      entry.addr = target;
      entry.cancel_flags = flags;
      return;
    }
    if (opcode == IORING_OP_POLL_ADD) {
      entry.poll32_events = flags;
      return;
    }
    if (opcode == IORING_OP_SHUTDOWN) {
      entry.len = length;
      return;
    }
    if (!reads && !writes) return;
    if (mine.data.empty()) {
      mine.data.resize(length);
      if (writes) fill(world, mine.data);
      const std::size_t half = length / 3;
      mine.parts = {iovec{mine.data.data(), half}, iovec{mine.data.data() + half, length - half}};
      mine.message.msg_iov = mine.parts.data();
      mine.message.msg_iovlen = 2;
    }
    switch (opcode) {
      case IORING_OP_RECVMSG:
      case IORING_OP_SENDMSG:
        entry.addr = seam::address(&mine.message);
        entry.len = 1;
        break;
      case IORING_OP_READV:
      case IORING_OP_WRITEV:
        entry.addr = seam::address(mine.parts.data());
        entry.len = 2;
        break;
      default:
        entry.addr = seam::address(mine.data.data());
        entry.len = length;
        break;
    }
    const bool message = opcode == IORING_OP_RECV || opcode == IORING_OP_SEND ||
                         opcode == IORING_OP_RECVMSG || opcode == IORING_OP_SENDMSG;
    if (message) {
      entry.msg_flags = flags;
    } else {
      entry.off = static_cast<std::uint64_t>(offset);
    }
  }

 private:
  void fill(World& world, std::vector<char>& data) const {
    if (object == kEventFd) {
      const std::uint64_t add = 1 + length % 5;
      std::memcpy(data.data(), &add, std::min(data.size(), sizeof add));
      return;
    }
    const std::uint64_t from =
        object == kFile ? static_cast<std::uint64_t>(offset) + id
                        : world.written[static_cast<std::size_t>(object)][static_cast<std::size_t>(end)];
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = pattern(object, end, from + i);
  }
};

}  // namespace fuzz
