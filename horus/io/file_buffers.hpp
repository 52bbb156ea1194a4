// SPDX-License-Identifier: Apache-2.0
// Memory for file operations: aligned for O_DIRECT, or registered with the kernel once instead of for each operation.
// A buffer must outlive the operations on it. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::io {

class Reactor;

/// One page, the alignment that every file system accepts for O_DIRECT.
inline constexpr std::size_t kDirectAlignment = 4096;  // bytes

/// Zeroed bytes at an aligned address, for files opened with `OpenOptions::direct()`. Move-only.
///
/// Errors: std::bad_alloc.
/// Example: `AlignedBuffer block(64 * 1024);  auto size = co_await file.read_at(block.bytes(), 0);`
class AlignedBuffer {
 public:
  AlignedBuffer() noexcept = default;
  /// `alignment` is a power of two.
  explicit AlignedBuffer(std::size_t size, std::size_t alignment = kDirectAlignment)
      : memory_(static_cast<std::byte*>(
            std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment))),
        size_(size) {
    if (memory_ == nullptr) throw std::bad_alloc();
    std::fill_n(memory_.get(), size, std::byte{0});
  }

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {memory_.get(), size_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size_}; }
  [[nodiscard]] std::byte* data() noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::byte[], Free> memory_;
  std::size_t size_ = 0;
};

namespace detail {

// One registration: shared by the buffers that point into it.
struct FixedRegion {
  Reactor* reactor = nullptr;
  AlignedBuffer own;  // empty when the memory is the caller's
  std::span<std::byte> memory;
  std::size_t uses = 0;  // awaiters that name a part of it
};

}  // namespace detail

/// A part of registered memory. A cheap view; valid while its FixedBuffers lives.
class FixedBuffer {
 public:
  FixedBuffer(detail::FixedRegion& region, std::span<std::byte> bytes) noexcept
      : region_(&region), bytes_(bytes) {}

  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
  [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] FixedBuffer subspan(std::size_t offset,
                                    std::size_t size = std::dynamic_extent) const noexcept {
    return {*region_, bytes_.subspan(offset, size)};
  }
  [[nodiscard]] FixedBuffer first(std::size_t size) const noexcept { return {*region_, bytes_.first(size)}; }
  [[nodiscard]] detail::FixedRegion& region() const noexcept { return *region_; }

 private:
  detail::FixedRegion* region_;
  std::span<std::byte> bytes_;
};

/// Buffers of one size whose pages stay pinned in the kernel, so that no operation pins them anew: for
/// `read_fixed_at` and `write_fixed_at` of File. They pay off for small O_DIRECT operations.
///
/// Semantics: one FixedBuffers per reactor at a time; at most 1 GiB together; page-aligned. Destroying one that an
/// operation still uses ends the program. It must be destroyed before its reactor.
/// Errors of `create` and `over`: EBUSY (this reactor has one already), ENOMEM (ulimit -l).
/// Thread safety: the reactor's thread.
/// Source: io_uring_register_buffers(3).
class HORUS_API FixedBuffers {
 public:
  /// `count` buffers of `size` bytes, registered with this thread's reactor.
  [[nodiscard]] static Result<FixedBuffers> create(std::size_t count, std::size_t size);
  /// Registers memory that the caller owns and keeps alive, divided into `count` equal buffers.
  [[nodiscard]] static Result<FixedBuffers> over(std::span<std::byte> memory, std::size_t count);

  FixedBuffers(FixedBuffers&& other) noexcept = default;
  FixedBuffers& operator=(FixedBuffers&& other) noexcept {
    if (this != &other) {
      release();
      region_ = std::move(other.region_);
      count_ = other.count_;
    }
    return *this;
  }
  ~FixedBuffers() { release(); }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  [[nodiscard]] std::size_t buffer_size() const noexcept { return region_->memory.size() / count_; }
  [[nodiscard]] FixedBuffer operator[](std::size_t index) const noexcept {
    HORUS_ASSERT(index < count_, "index of a fixed buffer");
    return {*region_, region_->memory.subspan(index * buffer_size(), buffer_size())};
  }

 private:
  FixedBuffers(std::unique_ptr<detail::FixedRegion> region, std::size_t count) noexcept
      : region_(std::move(region)), count_(count) {}
  static Result<FixedBuffers> add(std::unique_ptr<detail::FixedRegion> region, std::size_t count);
  void release() noexcept;

  std::unique_ptr<detail::FixedRegion> region_;
  std::size_t count_ = 0;
};

}  // namespace horus::HORUS_ABI::io
