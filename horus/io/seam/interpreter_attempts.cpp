// SPDX-License-Identifier: Apache-2.0
// One attempt of each instruction, with the arguments where io_uring_enter(2) has them. Nothing here blocks.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <limits>

#include <horus/base/assert.hpp>
#include <horus/io/seam/entry.hpp>
#include <horus/io/seam/interpreter.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// Completions that one multishot may make per event: one busy descriptor must not hold up the others.
constexpr int kMultishotBurst = 32;
// Parts of a scattered message that one attempt takes after a partial one.
constexpr std::size_t kPartsPerAttempt = 64;

template <class T>
T* pointer(std::uint64_t address) noexcept {
  return reinterpret_cast<T*>(address);
}

std::size_t length_of(const io_uring_sqe& entry) noexcept {
  return std::min<std::size_t>(entry.len, INT_MAX & ~4095);
}

// The parts of `from` behind the first `skip` bytes.
std::size_t rest_of(const msghdr& from, std::size_t skip,
                    std::array<iovec, kPartsPerAttempt>& parts) noexcept {
  std::size_t count = 0;
  for (std::size_t i = 0; i < from.msg_iovlen && count < parts.size(); ++i) {
    const iovec& part = from.msg_iov[i];
    if (skip >= part.iov_len) {
      skip -= part.iov_len;
      continue;
    }
    parts[count++] = {static_cast<char*>(part.iov_base) + skip, part.iov_len - skip};
    skip = 0;
  }
  return count;
}

std::size_t size_of(const iovec* parts, std::size_t count) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += parts[i].iov_len;
  return size;
}

}  // namespace

Interpreter::Outcome Interpreter::attempt(const io_uring_sqe& entry, std::uint32_t& done) noexcept {
  switch (entry.opcode) {
    case IORING_OP_ACCEPT: return accept(entry);
    case IORING_OP_CONNECT: return connect(entry);
    case IORING_OP_RECV:
      return (entry.flags & IOSQE_BUFFER_SELECT) != 0 ? receive_into_group(entry) : receive(entry, done);
    case IORING_OP_SEND: return send(entry, done);
    case IORING_OP_RECVMSG:
    case IORING_OP_SENDMSG: return message(entry, done);
    case IORING_OP_READ_FIXED:
    case IORING_OP_WRITE_FIXED:
      if (!is_fixed_buffer(entry)) return ended(-EFAULT);
      [[fallthrough]];
    case IORING_OP_READ:
    case IORING_OP_WRITE:
    case IORING_OP_READV:
    case IORING_OP_WRITEV: return transfer(entry, done);
    case IORING_OP_POLL_ADD: return poll(entry);
    default: break;
  }
  const Instruction* instruction = instruction_of(entry.opcode);
  if (instruction == nullptr || instruction->blocking == nullptr) return ended(-EINVAL);
  return {.kind = Outcome::Kind::blocking};
}

Interpreter::Outcome Interpreter::accept(const io_uring_sqe& entry) noexcept {
  const bool multishot = (entry.ioprio & IORING_ACCEPT_MULTISHOT) != 0;
  if ((entry.ioprio & ~IORING_ACCEPT_MULTISHOT) != 0 || entry.fd < 0)
    return ended(entry.fd < 0 ? -EBADF : -EINVAL);
  Descriptor& about = descriptor(entry.fd);
  if (about.traits.kind == DescriptorTraits::Kind::unknown) {
    if (const int result = provider_.classify(entry.fd, about.traits); result < 0) return ended(result);
  }
  const DescriptorTraits listener = about.traits;
  for (int burst = 0; burst < kMultishotBurst; ++burst) {
    const int fd = provider_.accept(entry.fd, pointer<sockaddr>(entry.addr), pointer<socklen_t>(entry.addr2),
                                    static_cast<int>(entry.accept_flags), listener);
    if (fd == -EAGAIN) return wait_for(EPOLLIN);
    if (fd == -EINTR || fd == -ECONNABORTED) continue;  // that one has given up already
    if (fd < 0 || !multishot || !post_more(entry.user_data, fd, 0)) return ended(fd);
  }
  return wait_for(EPOLLIN);
}

Interpreter::Outcome Interpreter::connect(const io_uring_sqe& entry) noexcept {
  const int result =
      provider_.connect(entry.fd, pointer<const sockaddr>(entry.addr), static_cast<socklen_t>(entry.off));
  if (result == -EINPROGRESS) return {.kind = Outcome::Kind::connecting, .wanted = EPOLLOUT};
  if (result == -EAGAIN) return {.kind = Outcome::Kind::retry};  // a Unix listener's backlog is full
  return ended(result);
}

Interpreter::Outcome Interpreter::receive(const io_uring_sqe& entry, std::uint32_t& done) noexcept {
  if ((entry.ioprio & ~IORING_RECVSEND_POLL_FIRST) != 0) return ended(-EINVAL);
  if (entry.fd < 0) return ended(-EBADF);
  Descriptor& about = descriptor(entry.fd);
  const auto flags = static_cast<int>(entry.msg_flags);
  const bool whole = (flags & MSG_WAITALL) != 0;
  const bool patient = (flags & MSG_DONTWAIT) == 0;
  if (about.drained && patient && (flags & (MSG_OOB | MSG_ERRQUEUE)) == 0) return wait_for(EPOLLIN);
  const std::size_t wanted = length_of(entry) - done;
  const ssize_t got =
      provider_.receive(entry.fd, pointer<char>(entry.addr) + done, wanted, flags & ~MSG_WAITALL);
  if (got == -EAGAIN || got == -EINTR) {
    if (patient) return wait_for(EPOLLIN);
    return ended(done > 0 ? static_cast<std::int64_t>(done) : -EAGAIN);
  }
  if (got < 0) return ended(done > 0 ? static_cast<std::int64_t>(done) : got);
  about.drained = static_cast<std::size_t>(got) < wanted && got > 0;
  done += static_cast<std::uint32_t>(got);
  if (whole && patient && got > 0 && static_cast<std::size_t>(got) < wanted) return wait_for(EPOLLIN);
  return ended(done);
}

Interpreter::Outcome Interpreter::receive_into_group(const io_uring_sqe& entry) noexcept {
  const bool multishot = (entry.ioprio & IORING_RECV_MULTISHOT) != 0;
  if ((entry.ioprio & ~(IORING_RECV_MULTISHOT | IORING_RECVSEND_POLL_FIRST)) != 0) return ended(-EINVAL);
  if (entry.fd < 0) return ended(-EBADF);
  Descriptor& about = descriptor(entry.fd);
  BufferGroup* buffers = group(entry.buf_group);
  if (buffers == nullptr || whim(Provider::Whim::no_buffers)) return ended(-ENOBUFS);
  const bool patient = multishot || (entry.msg_flags & MSG_DONTWAIT) == 0;
  const auto* ring = reinterpret_cast<io_uring_buf*>(buffers->ring);
  bool attempted = false;
  for (int burst = 0; burst < kMultishotBurst; ++burst) {
    // The tail is the user's, the head is ours. Buffers are looked for before data, as the kernel does.
    const std::uint16_t tail = std::atomic_ref(buffers->ring->tail).load(std::memory_order_acquire);
    if (tail == buffers->head) {
      // Having used exactly the last buffer is no failure: the next event is.
      return attempted ? wait_for(EPOLLIN) : ended(-ENOBUFS);
    }
    if (about.drained && patient) return wait_for(EPOLLIN);
    const io_uring_buf& buffer = ring[buffers->head & buffers->mask];
    std::size_t wanted = buffer.len;
    if (entry.len != 0) wanted = std::min<std::size_t>(wanted, entry.len);
    const std::uint32_t flags = IORING_CQE_F_BUFFER | (std::uint32_t{buffer.bid} << IORING_CQE_BUFFER_SHIFT);
    const ssize_t got = provider_.receive(entry.fd, pointer<char>(buffer.addr), wanted,
                                          static_cast<int>(entry.msg_flags & ~unsigned{MSG_WAITALL}));
    if (got == -EINTR) continue;
    if (got == -EAGAIN && patient) return wait_for(EPOLLIN);
    if (got <= 0) return ended(got);  // the end of the stream carries no buffer
    attempted = true;
    ++buffers->head;
    about.drained = static_cast<std::size_t>(got) < wanted;
    if (!multishot || !post_more(entry.user_data, static_cast<std::int32_t>(got), flags))
      return ended(got, flags);
  }
  return wait_for(EPOLLIN);
}

Interpreter::Outcome Interpreter::send(const io_uring_sqe& entry, std::uint32_t& done) noexcept {
  if ((entry.ioprio & ~IORING_RECVSEND_POLL_FIRST) != 0) return ended(-EINVAL);
  const auto flags = static_cast<int>(entry.msg_flags);
  const std::size_t wanted = length_of(entry) - done;
  char* data = pointer<char>(entry.addr) + done;
  ssize_t sent;
  if (entry.addr_len != 0) {
    iovec part{data, wanted};
    msghdr to{};
    to.msg_name = pointer<void>(entry.addr2);
    to.msg_namelen = entry.addr_len;
    to.msg_iov = &part;
    to.msg_iovlen = 1;
    sent = provider_.send_message(entry.fd, to, flags & ~MSG_WAITALL);
  } else {
    sent = provider_.send(entry.fd, data, wanted, flags & ~MSG_WAITALL);
  }
  const bool patient = (flags & MSG_DONTWAIT) == 0;
  if (sent == -EAGAIN || sent == -EINTR) {
    if (patient) return wait_for(EPOLLOUT);
    return ended(done > 0 ? static_cast<std::int64_t>(done) : -EAGAIN);
  }
  if (sent < 0) return ended(done > 0 ? static_cast<std::int64_t>(done) : sent);
  done += static_cast<std::uint32_t>(sent);
  const bool more = (flags & MSG_WAITALL) != 0 && patient && static_cast<std::size_t>(sent) < wanted;
  return more ? wait_for(EPOLLOUT) : ended(done);
}

Interpreter::Outcome Interpreter::message(const io_uring_sqe& entry, std::uint32_t& done) noexcept {
  const bool sending = entry.opcode == IORING_OP_SENDMSG;
  // As the kernel does: bytes to receive are no news for who reads the error queue.
  const bool errors = !sending && (entry.msg_flags & MSG_ERRQUEUE) != 0;
  const std::uint32_t event = sending ? EPOLLOUT : errors ? EPOLLERR : EPOLLIN;
  if ((entry.ioprio & ~IORING_RECVSEND_POLL_FIRST) != 0) return ended(-EINVAL);
  auto& whole = *pointer<msghdr>(entry.addr);
  const auto flags = static_cast<int>(entry.msg_flags);
  const bool keeps_going = (flags & MSG_WAITALL) != 0;
  std::array<iovec, kPartsPerAttempt> parts;
  msghdr rest{};
  if (done > 0) {  // names and descriptors went with the first part
    rest.msg_iov = parts.data();
    rest.msg_iovlen = rest_of(whole, done, parts);
  }
  msghdr& now = done > 0 ? rest : whole;
  const ssize_t moved = sending ? provider_.send_message(entry.fd, now, flags & ~MSG_WAITALL)
                                : provider_.receive_message(entry.fd, now, flags & ~MSG_WAITALL);
  const bool patient = (flags & MSG_DONTWAIT) == 0;
  if (moved == -EAGAIN || moved == -EINTR) {
    if (patient) return wait_for(event);
    return ended(done > 0 ? static_cast<std::int64_t>(done) : -EAGAIN);
  }
  if (moved < 0) return ended(done > 0 ? static_cast<std::int64_t>(done) : moved);
  done += static_cast<std::uint32_t>(moved);
  if (!keeps_going || !patient || moved == 0) return ended(done);
  const bool complete = done >= size_of(whole.msg_iov, whole.msg_iovlen);
  const bool record_ended = !sending && (now.msg_flags & (MSG_EOR | MSG_TRUNC | MSG_CTRUNC)) != 0;
  return complete || record_ended ? ended(done) : wait_for(event);
}

// READ and WRITE in all forms: files try the page cache and go to a thread, everything else waits for readiness.
Interpreter::Outcome Interpreter::transfer(const io_uring_sqe& entry, std::uint32_t& done) noexcept {
  using Kind = DescriptorTraits::Kind;
  if (entry.fd < 0) return ended(-EBADF);
  const bool scattered = instruction_of(entry.opcode)->payload == Payload::vectors;
  const bool writing = is_transfer(entry.opcode, Direction::out);
  Descriptor& about = descriptor(entry.fd);
  if (about.traits.kind == Kind::unknown) {
    if (const int result = provider_.classify(entry.fd, about.traits); result < 0) return ended(result);
  }
  const bool file = about.traits.kind == Kind::file;
  if (file && (scattered || entry.rw_flags != 0)) return {.kind = Outcome::Kind::blocking};

  const iovec single{pointer<void>(entry.addr), length_of(entry)};
  const iovec* parts = scattered ? pointer<const iovec>(entry.addr) : &single;
  const int count = scattered ? static_cast<int>(entry.len) : 1;
  const std::size_t wanted = size_of(parts, static_cast<std::size_t>(count));
  // Too short a read of a counter is refused, not kept waiting.
  const bool too_short = about.traits.kind == Kind::counter && wanted < sizeof(std::uint64_t);
  if (!file && !writing && about.drained && !too_short) return wait_for(EPOLLIN);
  const auto offset = static_cast<std::int64_t>(entry.off);
  const ssize_t moved = writing ? provider_.write(entry.fd, parts, count, offset, about.traits)
                                : provider_.read(entry.fd, parts, count, offset, about.traits);
  if (moved == -EAGAIN || moved == -EINTR) {
    return file ? Outcome{.kind = Outcome::Kind::blocking} : wait_for(writing ? EPOLLOUT : EPOLLIN);
  }
  if (moved > 0 && static_cast<std::size_t>(moved) < wanted) {
    if (file) {  // the page cache had a part; a thread fetches the rest
      done = static_cast<std::uint32_t>(moved);
      return {.kind = Outcome::Kind::blocking};
    }
    about.drained = about.drained || !writing;
  }
  // An eventfd or timerfd is empty after one read.
  if (moved == sizeof(std::uint64_t) && !writing && about.traits.kind == Kind::counter) about.drained = true;
  return ended(moved);
}

Interpreter::Outcome Interpreter::poll(const io_uring_sqe& entry) noexcept {
  if (entry.len != 0) return ended(-EINVAL);  // multishot and updates are not in the instruction set
  constexpr std::uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLRDBAND |
                                    EPOLLWRNORM | EPOLLWRBAND | EPOLLMSG | EPOLLERR | EPOLLHUP;
  // As the kernel does: a peer that has shut down its side is told unasked, like errors and hang-ups.
  const std::uint32_t events = (entry.poll32_events & kEvents) | EPOLLRDHUP;
  const int ready = provider_.poll(entry.fd, events);
  return ready != 0 ? ended(ready) : wait_for(events);
}

Interpreter::BufferGroup* Interpreter::group(std::uint16_t number) noexcept {
  for (BufferGroup& known : groups_) {
    if (known.group == number) return &known;
  }
  return nullptr;
}

bool Interpreter::is_fixed_buffer(const io_uring_sqe& entry) const noexcept {
  if (entry.buf_index >= fixed_buffers_.size()) return false;
  const iovec& buffer = fixed_buffers_[entry.buf_index];
  const auto start = reinterpret_cast<std::uintptr_t>(buffer.iov_base);
  return entry.addr >= start && entry.addr + entry.len <= start + buffer.iov_len;
}

}  // namespace horus::HORUS_ABI::io
