// SPDX-License-Identifier: Apache-2.0
// The memory of one publisher's messages: equal slots, and who still needs them. The publisher's thread; readers
// elsewhere only see the mapped bytes. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/result.hpp>

namespace horus::msg {

/// Mapped memory, shared by whoever keeps a pointer to it; the last one unmaps. `file` is a memfd, or -1 for memory of
/// this process alone.
class Mapping {
 public:
  /// Zeroed memory; pages come into being when they are touched. `sharable`: a sealed memfd that others can map.
  /// Errors: ENOMEM, EMFILE.
  static Result<std::shared_ptr<Mapping>> create(std::size_t bytes, bool sharable, const char* name);
  /// Another process's memory: checked for its size and seals first (a peer could cut it short under a reader).
  /// Takes `file`. Errors: kBadInput for memory that is too small or not sealed; ENOMEM.
  static Result<std::shared_ptr<Mapping>> adopt(int file, std::size_t bytes, bool writable);

  Mapping(std::byte* data, std::size_t size, int file) noexcept : data_(data), size_(size), file_(file) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] int file() const noexcept { return file_; }
  /// It stays mapped; nobody else can be given it any more.
  void close_file() noexcept;
  /// From now on nobody else may map it writable (F_SEAL_FUTURE_WRITE).
  Result<> forbid_writers();

 private:
  std::byte* data_;
  std::size_t size_;
  int file_;  // -1: of this process alone, or closed
};

/// Slots of one size, with a count of who still needs each. The freed ones are used again last in, first out: warm in
/// the cache, and memory that was never needed is never touched.
class SlotPool {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  SlotPool(std::shared_ptr<Mapping> memory, std::uint32_t slots, std::uint32_t stride);

  /// A slot that is counted once, or kNone.
  [[nodiscard]] std::uint32_t take() noexcept {
    if (free_.empty()) return kNone;
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    users_[slot] = 1;
    return slot;
  }
  void add_user(std::uint32_t slot) noexcept { ++users_[slot]; }
  void drop_user(std::uint32_t slot) noexcept {
    if (--users_[slot] == 0) free_.push_back(slot);
  }
  [[nodiscard]] std::byte* data(std::uint32_t slot) const noexcept {
    return memory_->data() + std::size_t{slot} * stride_;
  }
  [[nodiscard]] std::uint32_t slots() const noexcept { return static_cast<std::uint32_t>(users_.size()); }
  [[nodiscard]] std::uint32_t stride() const noexcept { return stride_; }
  [[nodiscard]] std::uint32_t free_slots() const noexcept { return static_cast<std::uint32_t>(free_.size()); }
  [[nodiscard]] const std::shared_ptr<Mapping>& memory() const noexcept { return memory_; }

 private:
  std::shared_ptr<Mapping> memory_;
  std::uint32_t stride_;  // bytes
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> users_;
};

}  // namespace horus::msg
