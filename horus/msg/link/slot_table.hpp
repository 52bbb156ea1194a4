// SPDX-License-Identifier: Apache-2.0
// Where the slots of one publisher are. Its memory comes in runs, as subscribers come, and a slot keeps its number and its
// place while its run is there. A publisher and the subscribers of its process have one table; a subscriber in another
// process has its own, of what it was told. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <vector>

#include <horus/msg/link/mapping.hpp>
#include <horus/msg/link/publisher_state.hpp>

namespace horus::HORUS_ABI::msg {

class SlotTable {
 public:
  /// Slots that follow each other in one piece of memory.
  struct Run {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::shared_ptr<Mapping> memory;
    std::uint64_t serial = 0;  ///< grows with each run of a table
  };
  static constexpr std::size_t kLargestRun = std::size_t{16} << 20;  // bytes, but for a single slot

  /// Of at most `slots` slots of `stride` bytes. `word`: memory for the publisher's state, where others read it too.
  SlotTable(std::uint32_t slots, std::uint32_t stride, std::shared_ptr<Mapping> word = nullptr);
  SlotTable(const SlotTable&) = delete;
  SlotTable& operator=(const SlotTable&) = delete;

  /// Runs begin at multiples of this, and only the last one of all may end elsewhere.
  [[nodiscard]] static std::uint32_t piece_of(std::uint32_t stride) noexcept;

  // --- Any thread
  [[nodiscard]] std::uint32_t slots() const noexcept { return slots_; }
  [[nodiscard]] std::uint32_t stride() const noexcept { return stride_; }
  [[nodiscard]] std::uint32_t piece() const noexcept { return mask_ + 1; }
  /// Null when the slot's run is not here, or not yet. `slot` < slots().
  [[nodiscard]] std::byte* data(std::uint32_t slot) const noexcept {
    std::byte* piece = pieces_[slot >> shift_].load(std::memory_order_acquire);
    return piece == nullptr ? nullptr : piece + std::size_t{slot & mask_} * stride_;
  }
  [[nodiscard]] PublisherWord word() const noexcept { return PublisherWord(*word_); }
  [[nodiscard]] const std::shared_ptr<Mapping>& word_memory() const noexcept { return word_memory_; }
  /// False for a run that is out of range, overlaps another one, or does not fit into its memory.
  bool add(std::uint32_t first, std::uint32_t count, std::shared_ptr<Mapping> memory);
  /// Nobody may have a slot of it.
  void remove(std::uint32_t first) noexcept;
  [[nodiscard]] std::uint64_t last_serial() const noexcept { return serial_.load(std::memory_order_acquire); }
  /// Those with a greater serial, in order of it.
  [[nodiscard]] std::vector<Run> runs_after(std::uint64_t serial) const;

 private:
  const std::uint32_t slots_;
  const std::uint32_t stride_;  // bytes
  std::uint32_t shift_ = 0;
  std::uint32_t mask_ = 0;
  struct Free {
    void operator()(void* memory) const noexcept { std::free(memory); }
  };
  std::unique_ptr<std::atomic<std::byte*>[], Free> pieces_;  // null where nothing is, and no pages there
  const std::shared_ptr<Mapping> word_memory_;
  std::atomic<std::uint32_t> own_word_{0};
  std::atomic<std::uint32_t>* word_;
  std::atomic<std::uint64_t> serial_{0};
  mutable std::mutex mutex_;  // of what follows
  std::vector<Run> runs_;
};

}  // namespace horus::HORUS_ABI::msg
