// SPDX-License-Identifier: Apache-2.0
// A link between a publisher and a subscriber while somebody scribbles over the memory that they share. Neither may touch
// memory outside of its slots, hand out what is no message, or lose one of its own slots for ever.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <horus/msg/inlet.hpp>
#include <horus/msg/outlet.hpp>
#include <horus/msg/slot_pool.hpp>

namespace {

using namespace horus::msg;

constexpr std::uint32_t kSlots = 12;
constexpr std::uint32_t kStride = 64;
constexpr std::uint32_t kDepth = 3;
constexpr std::uint32_t kTailOffset = 8;
constexpr std::uint32_t kElement = 4;

class NoBell final : public Bell {
 public:
  void ring() noexcept override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto bell = std::make_shared<NoBell>();
  auto slots = Mapping::create(std::size_t{kSlots} * kStride, false, "slots").or_throw();
  auto memory = Mapping::create(LinkMemory::bytes_for(kDepth, kSlots), false, "link").or_throw();
  const LinkMemory link = LinkMemory::over(memory, kDepth, kSlots);
  SlotPool pool(slots, kSlots, kStride);
  auto outlet = std::make_unique<Outlet>(link, static_cast<horus::Overflow>(data[0] % 3), bell, nullptr);
  auto* inlet = new Inlet(link, slots, kSlots, kStride, kTailOffset, kElement, 4, bell, false);
  std::vector<Arrival> held;
  bool outlet_closed = false;
  const auto release = [&](std::uint32_t slot) { pool.drop_user(slot); };
  for (std::size_t i = 1; i + 4 < size; i += 5) {
    switch (data[i] % 6) {
      case 0: {
        const std::uint32_t slot = outlet_closed ? SlotPool::kNone : pool.take();
        if (slot == SlotPool::kNone) break;
        std::uint32_t victim = SlotPool::kNone;
        const auto outcome = outlet->push({slot, kElement * (data[i + 1] % 14U), 0}, victim);
        if (outcome == Outlet::Outcome::overwrote) pool.drop_user(victim);
        if (outcome != Outlet::Outcome::refused) pool.add_user(slot);
        pool.drop_user(slot);
        outlet->notify();
        break;
      }
      case 1: {
        Arrival arrival;
        if (inlet == nullptr) break;
        const auto outcome = inlet->take(arrival);
        if (outcome == Inlet::Outcome::broken) {
          inlet->let_go();  // it lives on until its samples have come back
          inlet = nullptr;
        } else if (outcome == Inlet::Outcome::taken) {
          const std::byte* end = arrival.data + kTailOffset + arrival.tail_bytes;
          if (arrival.data < slots->data() || end > slots->data() + slots->size()) std::abort();
          held.push_back(arrival);
        }
        break;
      }
      case 2:
        if (held.empty()) break;
        held.front().inlet->give_back(held.front().slot);
        held.erase(held.begin());
        break;
      case 3:
        if (!outlet_closed && !outlet->collect(release)) {
          outlet->close();
          outlet->abandon(release);
          outlet_closed = true;
        }
        break;
      case 4: static_cast<void>(outlet->has_room()); break;
      default: {  // the peer, or a cosmic ray
        std::uint16_t where = 0;
        std::memcpy(&where, data + i + 1, sizeof where);
        where = static_cast<std::uint16_t>(where % memory->size());
        memory->data()[where] = static_cast<std::byte>(data[i + 3]);
        break;
      }
    }
  }
  for (const Arrival& arrival : held) arrival.inlet->give_back(arrival.slot);
  if (inlet != nullptr) inlet->let_go();
  if (!outlet_closed) outlet->abandon(release);
  if (pool.free_slots() != kSlots) std::abort();
  return 0;
}
