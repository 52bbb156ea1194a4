// SPDX-License-Identifier: Apache-2.0
#include <horus/io/stream/buffer_pool.hpp>

#include <atomic>
#include <cerrno>

#include <sys/mman.h>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/error.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {
namespace {

Reactor& reactor_here() {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "a BufferPool was made on a thread that runs no reactor");
  return *reactor;
}

std::size_t ring_bytes(std::uint32_t count) { return (count * sizeof(io_uring_buf) + 4095) / 4096 * 4096; }

}  // namespace

BufferPool::BufferPool(std::uint32_t count, std::uint32_t size)
    : reactor_(reactor_here()), count_(count), size_(size) {
  if (count == 0 || count > 32768 || (count & (count - 1)) != 0 || size == 0) {
    throw Error(EINVAL, "BufferPool",
                fmt::format("{} buffers of {} bytes: a power of two up to 32768", count, size));
  }
  mapped_ = ring_bytes(count) + std::size_t{count} * size;
  void* memory = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw Error(errno, "BufferPool", fmt::format("{} bytes", mapped_));
  ring_ = static_cast<io_uring_buf_ring*>(memory);
  memory_ = static_cast<std::byte*>(memory) + ring_bytes(count);
  int result = -EEXIST;
  for (group_ = 1; group_ != 0 && result == -EEXIST; ++group_) {
    result = reactor_.ring().register_buffer_ring(ring_, count, group_);
    if (result == 0) break;
  }
  if (result < 0) {
    ::munmap(memory, mapped_);
    throw Error(-result, "BufferPool", "register a buffer ring");
  }
  filled_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) publish(static_cast<std::uint16_t>(i));
}

BufferPool::~BufferPool() {
  HORUS_ASSERT(lent_ == 0, "a BufferPool died before the chunks that lend its buffers");
  reactor_.ring().unregister_buffer_ring(group_);
  ::munmap(ring_, mapped_);
}

// The kernel reads the entry after it has seen the tail move.
void BufferPool::publish(std::uint16_t buffer) noexcept {
  io_uring_buf& entry = reinterpret_cast<io_uring_buf*>(ring_)[tail_ & (count_ - 1)];
  entry.addr = reinterpret_cast<std::uintptr_t>(data(buffer));
  entry.len = size_;
  entry.bid = buffer;
  ++tail_;
  std::atomic_ref(ring_->tail).store(tail_, std::memory_order_release);
}

void BufferPool::give_back(std::uint16_t buffer) noexcept {
  --lent_;
  publish(buffer);
  // All of them: whoever goes on first may have nothing to receive, and then the buffer is for somebody else.
  IntrusiveList<Starved, StarvedTag> woken;
  woken.splice(starved_);
  while (Starved* who = woken.pop_front()) who->buffer_available();
}

}  // namespace horus::HORUS_ABI::io
