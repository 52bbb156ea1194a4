// SPDX-License-Identifier: Apache-2.0
// The memory of one publisher's messages: equal slots, and who still needs them. The addresses of slots are reserved when
// subscribers come that may need them, and given back when they have gone; pages come when a slot is first used. The
// publisher's thread, but for reserve(); readers elsewhere have the SlotTable. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/link/slot_table.hpp>

namespace horus::HORUS_ABI::msg {

class Arena;

/// The freed slots are used again last in, first out: warm in the cache, and memory that was never needed is never touched.
class SlotPool {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// Runs come from `shared`, or are memory of this process alone. None is there as yet.
  explicit SlotPool(std::shared_ptr<SlotTable> table, std::shared_ptr<Arena> shared = nullptr) noexcept;

  /// A slot that is counted once, or kNone.
  [[nodiscard]] std::uint32_t take() noexcept {
    if (free_.empty()) return kNone;
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    users_[slot] = 1;
    return slot;
  }
  /// Has pages for the first `bytes` of a slot, at most its stride, before anybody writes there. Asks the system only where
  /// nothing was written before. Errors: as Mapping::fill().
  Result<> have_pages(std::uint32_t slot, std::size_t bytes) {
    if (bytes <= filled_[slot]) [[likely]]
      return {};
    return fill(slot, bytes);
  }
  void add_user(std::uint32_t slot) noexcept { ++users_[slot]; }
  void drop_user(std::uint32_t slot) noexcept {
    if (--users_[slot] != 0) return;
    if (surplus_ != 0 && leaves(slot)) [[unlikely]]
      return;
    free_.push_back(slot);
  }
  [[nodiscard]] std::byte* data(std::uint32_t slot) const noexcept { return table_->data(slot); }
  /// There may ever be, numbered from 0.
  [[nodiscard]] std::uint32_t slots() const noexcept { return table_->slots(); }
  [[nodiscard]] std::uint32_t stride() const noexcept { return table_->stride(); }
  [[nodiscard]] std::uint32_t free_slots() const noexcept { return static_cast<std::uint32_t>(free_.size()); }
  /// Nobody has a slot.
  [[nodiscard]] bool is_idle() const noexcept;
  [[nodiscard]] const std::shared_ptr<SlotTable>& table() const noexcept { return table_; }

  // --- With a lock that all callers of these have
  /// Any thread. Has addresses for `wanted` slots; more than that is surplus from now on. Errors, with the name of the
  /// limit, and nothing has changed then: ENOMEM, EMFILE, EFBIG.
  Result<> reserve(std::uint32_t wanted);
  /// No more than `wanted` are needed any more.
  void lower(std::uint32_t wanted) noexcept { wanted_ = wanted < wanted_ ? wanted : wanted_; }
  /// Slots that have addresses.
  [[nodiscard]] std::uint32_t reserved() const noexcept { return reserved_; }
  /// What was reserved can be taken.
  void adopt();
  /// Stops using the runs that are surplus, and gives back the memory of one in which no slot is used any more, at most
  /// kLargestRun. `told`: other processes know of runs, none of which can go before they have. True when there is more to
  /// give back.
  bool give_back(bool told) noexcept;
  /// Some runs go as soon as they can.
  [[nodiscard]] bool has_surplus() const noexcept { return surplus_ != 0; }
  /// Gives back the pages of all slots, where the memory is of this process alone. Only while is_idle(). False where it
  /// cannot be.
  bool forget_pages() noexcept;

 private:
  struct Run {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
    std::shared_ptr<Mapping> memory;
    bool surplus = false;
    std::uint32_t used = 0;  // slots of a surplus one
  };
  Result<> fill(std::uint32_t slot, std::size_t bytes);
  bool leaves(std::uint32_t slot) noexcept;
  [[nodiscard]] Run& run_of(std::uint32_t slot) noexcept;

  std::shared_ptr<SlotTable> table_;
  std::shared_ptr<Arena> shared_;
  std::vector<Run> runs_;
  std::uint32_t active_ = 0;           // slots of runs that are no surplus
  std::uint32_t surplus_ = 0;          // runs
  std::vector<std::uint32_t> filled_;  // bytes of each slot that have pages
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> users_;
  // With the lock
  std::uint32_t wanted_ = 0;
  std::uint32_t reserved_ = 0;
  std::vector<Run> made_;      // not adopted yet
  std::vector<Run> numbered_;  // all that there are, by their first slot; without memory
};

}  // namespace horus::HORUS_ABI::msg
