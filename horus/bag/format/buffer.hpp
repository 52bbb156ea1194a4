// SPDX-License-Identifier: Apache-2.0
// Bytes that grow. Unlike a vector's, new ones are not zeroed first. Internal; one thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace horus::HORUS_ABI::bag {

class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : memory_(std::move(other.memory_)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    capacity_ = std::exchange(other.capacity_, 0);
    return *this;
  }

  [[nodiscard]] std::byte* data() noexcept { return memory_.get(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {memory_.get(), size_}; }

  void clear() noexcept { size_ = 0; }
  /// Fewer bytes than now.
  void shorten(std::size_t size) noexcept { size_ = size; }
  void reserve(std::size_t capacity) {
    if (capacity <= capacity_) return;
    auto more = std::make_unique_for_overwrite<std::byte[]>(capacity);
    if (size_ > 0) std::memcpy(more.get(), memory_.get(), size_);
    memory_ = std::move(more);
    capacity_ = capacity;
  }
  /// `count` further bytes with any content; where they are.
  std::byte* extend(std::size_t count) {
    if (count > capacity_ - size_) reserve(std::max(size_ + count, capacity_ + capacity_ / 2));
    std::byte* place = memory_.get() + size_;
    size_ += count;
    return place;
  }
  void append(const void* data, std::size_t count) {
    if (count > 0) std::memcpy(extend(count), data, count);
  }
  /// Gives back what is not in use.
  void fit() {
    if (capacity_ == size_) return;
    Buffer less;
    less.append(data(), size_);
    *this = std::move(less);
  }
  /// Gives memory back.
  void release() noexcept {
    memory_.reset();
    size_ = capacity_ = 0;
  }

 private:
  std::unique_ptr<std::byte[]> memory_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace horus::HORUS_ABI::bag
