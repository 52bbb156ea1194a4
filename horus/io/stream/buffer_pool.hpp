// SPDX-License-Identifier: Apache-2.0
// A pool of equal buffers that the kernel fills by itself when data arrives (a provided-buffer ring). One reactor's
// thread; chunks lend its buffers and give them back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <linux/io_uring.h>

#include <horus/base/export.hpp>
#include <horus/base/intrusive_list.hpp>

namespace horus::HORUS_ABI::io {

class Reactor;
class BufferPool;

struct StarvedTag;

/// Somebody who ran out of buffers and wants to go on when one comes back.
class HORUS_API Starved : public ListHook<StarvedTag> {
 public:
  virtual void buffer_available() noexcept = 0;

 protected:
  ~Starved() = default;
};

/// Received bytes in a buffer of a pool. Gives the buffer back when it dies. Move-only; the pool's thread.
class HORUS_API Chunk {
 public:
  Chunk() noexcept = default;
  Chunk(BufferPool& pool, std::uint16_t buffer, std::uint32_t size) noexcept
      : pool_(&pool), size_(size), buffer_(buffer) {}
  Chunk(Chunk&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        buffer_(other.buffer_) {}
  Chunk& operator=(Chunk&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(size_, other.size_);
    std::swap(buffer_, other.buffer_);
    return *this;
  }
  ~Chunk() { reset(); }

  [[nodiscard]] const std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {data(), size_}; }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data()), size_};
  }
  /// Gives the buffer back now.
  void reset() noexcept;

 private:
  friend class ChunkWriter;
  BufferPool* pool_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t buffer_ = 0;
};

/// `count` buffers of `size` bytes, registered with this thread's reactor.
///
/// Semantics: 64 to 256 buffers stay in cache, which matters more than anything else here; buffers smaller than the
/// messages cost far more than they save. A pool must outlive its chunks and everybody who receives into it.
/// Errors: the constructor throws Error (ENOMEM, EINVAL).
/// Thread safety: the reactor's thread. Source: io_uring_register(2), IORING_REGISTER_PBUF_RING.
class HORUS_API BufferPool {
 public:
  /// `count`: a power of two up to 32768.
  explicit BufferPool(std::uint32_t count = 128, std::uint32_t size = 16 * 1024);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  [[nodiscard]] std::uint16_t group() const noexcept { return group_; }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint32_t buffer_size() const noexcept { return size_; }
  /// Buffers that the kernel may fill now.
  [[nodiscard]] std::uint32_t available() const noexcept { return count_ - lent_; }

  // --- For those who receive and send
  [[nodiscard]] std::byte* data(std::uint16_t buffer) noexcept {
    return memory_ + std::size_t{buffer} * size_;
  }
  /// The kernel has filled a buffer.
  void take() noexcept { ++lent_; }
  void give_back(std::uint16_t buffer) noexcept;
  void wait_for_buffer(Starved& who) noexcept { starved_.push_back(who); }

  // A list of filled buffers, linked through the pool: no allocation, bounded by the pool.
  static constexpr std::uint16_t kNone = 0xffff;
  struct Filled {
    std::uint32_t size = 0;
    std::uint16_t next = kNone;
  };
  [[nodiscard]] Filled& filled(std::uint16_t buffer) noexcept { return filled_[buffer]; }

 private:
  void publish(std::uint16_t buffer) noexcept;

  Reactor& reactor_;
  std::uint32_t count_;
  std::uint32_t size_;
  std::uint32_t lent_ = 0;
  std::uint16_t group_ = 0;
  std::uint16_t tail_ = 0;
  io_uring_buf_ring* ring_ = nullptr;
  std::byte* memory_ = nullptr;
  std::size_t mapped_ = 0;
  std::vector<Filled> filled_;
  IntrusiveList<Starved, StarvedTag> starved_;
};

inline const std::byte* Chunk::data() const noexcept {
  return pool_ == nullptr ? nullptr : pool_->data(buffer_);
}
inline void Chunk::reset() noexcept {
  if (BufferPool* pool = std::exchange(pool_, nullptr)) pool->give_back(buffer_);
  size_ = 0;
}

/// First-in first-out list of filled buffers of one pool.
class FilledList {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == BufferPool::kNone; }
  void push(BufferPool& pool, std::uint16_t buffer, std::uint32_t size) noexcept {
    pool.filled(buffer) = {size, BufferPool::kNone};
    if (empty()) {
      first_ = buffer;
    } else {
      pool.filled(last_).next = buffer;
    }
    last_ = buffer;
  }
  Chunk pop(BufferPool& pool) noexcept {
    const std::uint16_t buffer = first_;
    const BufferPool::Filled filled = pool.filled(buffer);
    first_ = filled.next;
    return {pool, buffer, filled.size};
  }

 private:
  std::uint16_t first_ = BufferPool::kNone;
  std::uint16_t last_ = BufferPool::kNone;
};

}  // namespace horus::HORUS_ABI::io
