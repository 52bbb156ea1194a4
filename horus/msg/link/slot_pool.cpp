// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/slot_pool.hpp>

#include <algorithm>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/locked_ranges.hpp>
#include <horus/msg/link/shm_arena.hpp>

namespace horus::HORUS_ABI::msg {

SlotPool::SlotPool(std::shared_ptr<SlotTable> table, std::shared_ptr<Arena> shared) noexcept
    : table_(std::move(table)), shared_(std::move(shared)) {}

// --- Runs -------------------------------------------------------------------------------------------------------------

Result<> SlotPool::reserve(std::uint32_t wanted) {
  const std::uint32_t before = std::exchange(wanted_, std::min(wanted, slots()));
  const std::uint32_t piece = table_->piece();
  const auto whole_pieces = [&](std::size_t count) {
    return static_cast<std::uint32_t>(count / piece * piece);
  };
  const std::uint32_t largest = std::max(piece, whole_pieces(SlotTable::kLargestRun / stride()));
  std::vector<Run> fresh;
  std::uint32_t missing = wanted_ > reserved_ ? wanted_ - reserved_ : 0;
  auto next = numbered_.begin();
  for (std::uint32_t first = 0; missing > 0;) {
    for (; next != numbered_.end() && next->first == first; ++next) first += next->count;
    const std::uint32_t gap = (next == numbered_.end() ? slots() : next->first) - first;
    Run run;
    run.first = first;
    run.count = std::min({whole_pieces(std::size_t{missing} + piece - 1), largest, gap});
    const std::size_t bytes = std::size_t{run.count} * stride();
    auto memory = shared_ != nullptr ? shared_->reserve(bytes) : Mapping::create(bytes, false, "horus-slots");
    if (!memory) {
      wanted_ = before;
      return memory.error();
    }
    run.memory = std::move(*memory);
    first += run.count;
    missing -= std::min(missing, run.count);
    fresh.push_back(std::move(run));
  }
  for (Run& run : fresh) {
    const bool added = table_->add(run.first, run.count, run.memory);
    HORUS_ASSERT(added, "slots with numbers that others have");
    reserved_ += run.count;
    Run& numbered = numbered_.emplace_back();
    numbered.first = run.first;
    numbered.count = run.count;
    made_.push_back(std::move(run));
  }
  std::sort(numbered_.begin(), numbered_.end(),
            [](const Run& one, const Run& other) { return one.first < other.first; });
  return {};
}

// What is new is used last.
void SlotPool::adopt() {
  const auto put_below = [&](const Run& run) {
    std::vector<std::uint32_t> slots;
    slots.reserve(free_.capacity());
    for (std::uint32_t slot = run.first + run.count; slot > run.first; --slot) {
      if (users_[slot - 1] == 0) slots.push_back(slot - 1);
    }
    slots.insert(slots.end(), free_.begin(), free_.end());
    free_ = std::move(slots);
  };
  for (Run& run : runs_) {
    if (active_ >= wanted_) break;
    if (!run.surplus) continue;
    run.surplus = false;
    --surplus_;
    active_ += run.count;
    put_below(run);
  }
  for (Run& run : std::exchange(made_, {})) {
    const std::size_t end = std::max<std::size_t>(users_.size(), std::size_t{run.first} + run.count);
    users_.resize(end, 0);
    filled_.resize(end, 0);
    free_.reserve(end);
    std::fill_n(filled_.begin() + run.first, run.count,
                run.memory->fills() || horus::detail::locks_ranges() ? 0 : stride());
    active_ += run.count;
    put_below(run);
    runs_.push_back(std::move(run));
  }
}

bool SlotPool::give_back(bool told) noexcept {
  bool marked = false;
  for (auto run = runs_.rbegin(); run != runs_.rend(); ++run) {
    if (run->surplus || active_ < wanted_ + run->count) continue;
    run->surplus = marked = true;
    run->used = run->count;
    active_ -= run->count;
    ++surplus_;
  }
  if (marked) {
    std::erase_if(free_, [this](std::uint32_t slot) {
      Run& run = run_of(slot);
      if (run.surplus) --run.used;
      return run.surplus;
    });
  }
  if (told) return false;
  const auto is_empty = [](const Run& run) { return run.surplus && run.used == 0; };
  const auto empty = std::find_if(runs_.begin(), runs_.end(), is_empty);
  if (empty == runs_.end()) return false;
  const std::uint32_t first = empty->first;
  reserved_ -= empty->count;
  --surplus_;
  std::erase_if(numbered_, [&](const Run& run) { return run.first == first; });
  runs_.erase(empty);
  table_->remove(first);
  return std::any_of(runs_.begin(), runs_.end(), is_empty);
}

SlotPool::Run& SlotPool::run_of(std::uint32_t slot) noexcept {
  const auto run = std::find_if(runs_.begin(), runs_.end(), [&](const Run& one) {
    return slot >= one.first && slot - one.first < one.count;
  });
  HORUS_ASSERT(run != runs_.end(), "a slot of no run");
  return *run;
}

bool SlotPool::leaves(std::uint32_t slot) noexcept {
  Run& run = run_of(slot);
  if (run.surplus) --run.used;
  return run.surplus;
}

bool SlotPool::is_idle() const noexcept { return free_.size() == active_ && surplus_ == 0; }

// --- Pages ------------------------------------------------------------------------------------------------------------

// One call for many small slots, and few for one whose messages grow little by little.
Result<> SlotPool::fill(std::uint32_t slot, std::size_t bytes) {
  constexpr std::size_t kStep = std::size_t{16} << 10;
  const Run& run = run_of(slot);
  const std::size_t begin = std::size_t{slot - run.first} * stride();
  if (stride() > kStep) {
    const std::size_t size = std::min<std::size_t>((bytes + kStep - 1) / kStep * kStep, stride());
    if (auto filled = run.memory->fill(begin, size); !filled) return filled;
    if (horus::detail::locks_ranges()) horus::detail::lock_range(run.memory->data() + begin, size);
    filled_[slot] = static_cast<std::uint32_t>(size);
    return {};
  }
  const auto end = std::min<std::size_t>(slot + kStep / stride(), std::size_t{run.first} + run.count);
  if (auto filled = run.memory->fill(begin, (end - slot) * stride()); !filled) return filled;
  if (horus::detail::locks_ranges())
    horus::detail::lock_range(run.memory->data() + begin, (end - slot) * stride());
  std::fill(filled_.begin() + slot, filled_.begin() + static_cast<std::ptrdiff_t>(end), stride());
  return {};
}

bool SlotPool::forget_pages() noexcept {
  return is_idle() &&
         std::all_of(runs_.begin(), runs_.end(), [](const Run& run) { return run.memory->forget_pages(); });
}

}  // namespace horus::HORUS_ABI::msg
