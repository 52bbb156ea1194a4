// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/slot_table.hpp>

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{4} << 20;  // at most, but for a single slot
constexpr std::size_t kPieceSlots = 64;                    // at most

// Zeroed memory is null pointers.
std::atomic<std::byte*>* nothing(std::size_t pieces) {
  void* memory = std::calloc(pieces, sizeof(std::atomic<std::byte*>));
  if (memory == nullptr) throw std::bad_alloc();
  return static_cast<std::atomic<std::byte*>*>(memory);
}

}  // namespace

std::uint32_t SlotTable::piece_of(std::uint32_t stride) noexcept {
  const std::size_t fit = std::clamp<std::size_t>(kPieceBytes / stride, 1, kPieceSlots);
  return static_cast<std::uint32_t>(std::bit_floor(fit));
}

SlotTable::SlotTable(std::uint32_t slots, std::uint32_t stride, std::shared_ptr<Mapping> word)
    : slots_(slots),
      stride_(stride),
      shift_(static_cast<std::uint32_t>(std::countr_zero(piece_of(stride)))),
      mask_(piece_of(stride) - 1),
      pieces_(nothing((std::size_t{slots} + mask_) >> shift_)),
      word_memory_(std::move(word)),
      word_(word_memory_ == nullptr ? &own_word_
                                    : reinterpret_cast<std::atomic<std::uint32_t>*>(word_memory_->data())) {}

bool SlotTable::add(std::uint32_t first, std::uint32_t count, std::shared_ptr<Mapping> memory) {
  if (first >= slots_ || count == 0 || count > slots_ - first || (first & mask_) != 0 ||
      ((count & mask_) != 0 && first + count != slots_) || memory->size() < std::size_t{count} * stride_)
    return false;
  const std::lock_guard lock(mutex_);
  const std::uint32_t begin = first >> shift_;
  const std::uint32_t end = (first + count - 1) >> shift_;
  for (std::uint32_t piece = begin; piece <= end; ++piece) {
    if (pieces_[piece].load(std::memory_order_relaxed) != nullptr) return false;
  }
  for (std::uint32_t piece = begin; piece <= end; ++piece) {
    const std::size_t at = std::size_t{piece - begin} * piece_of(stride_) * stride_;
    pieces_[piece].store(memory->data() + at, std::memory_order_release);
  }
  const std::uint64_t serial = serial_.load(std::memory_order_relaxed) + 1;
  runs_.push_back({first, count, std::move(memory), serial});
  serial_.store(serial, std::memory_order_release);
  return true;
}

void SlotTable::remove(std::uint32_t first) noexcept {
  std::shared_ptr<Mapping> memory;  // goes without the lock
  const std::lock_guard lock(mutex_);
  const auto run =
      std::find_if(runs_.begin(), runs_.end(), [&](const Run& one) { return one.first == first; });
  if (run == runs_.end()) return;
  for (std::uint32_t piece = first >> shift_; piece <= (first + run->count - 1) >> shift_; ++piece)
    pieces_[piece].store(nullptr, std::memory_order_release);
  memory = std::move(run->memory);
  runs_.erase(run);
}

std::vector<SlotTable::Run> SlotTable::runs_after(std::uint64_t serial) const {
  std::vector<Run> runs;
  if (last_serial() <= serial) return runs;
  const std::lock_guard lock(mutex_);
  for (const Run& run : runs_) {
    if (run.serial > serial) runs.push_back(run);
  }
  return runs;
}

}  // namespace horus::HORUS_ABI::msg
