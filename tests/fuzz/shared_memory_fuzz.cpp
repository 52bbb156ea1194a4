// SPDX-License-Identifier: Apache-2.0
// A link between a publisher and a subscriber while somebody scribbles over the memory that they share. Neither may touch
// memory outside of its slots, hand out what is no message, or lose one of its own slots for ever.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <horus/msg/link/inlet.hpp>
#include <horus/msg/link/outlet.hpp>
#include <horus/msg/link/slot_pool.hpp>

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

// Slots on the one side, entries with the message on the other.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto bell = std::make_shared<NoBell>();
  const auto overflow = static_cast<horus::Overflow>(data[0] % 3);
  const bool is_inline = data[0] >= 128;
  horus::Layout layout;
  layout.head_bytes = layout.tail_offset = kTailOffset;
  layout.element_bytes = is_inline ? 0 : kElement;
  const auto slots = std::make_shared<SlotTable>(kSlots, kStride);
  const LinkShape shape = LinkShape::of(layout, kDepth, overflow, kSlots);
  auto memory = Mapping::create(shape.bytes(), false, "link").or_throw();
  const LinkMemory link = LinkMemory::over(memory, shape);
  SlotPool pool(slots);
  pool.reserve(kSlots).or_throw();
  pool.adopt();
  auto outlet = std::make_unique<Outlet>(link, overflow, bell);
  auto* inlet = new Inlet(link, slots, kTailOffset, layout.element_bytes, 4, bell, false);
  outlet->reserved = kDepth + 4;
  std::vector<Arrival> held;
  bool outlet_closed = false;
  std::uint64_t delivered = 0;
  const auto release = [&](std::uint32_t slot) { pool.drop_user(slot); };
  const auto check_account = [&] {
    const Outlet::Account account = outlet->account();
    if (account.sent != account.delivered + account.dropped + account.queued + account.in_flight)
      std::abort();
    if (account.queued > shape.depth || account.delivered < delivered) std::abort();
    delivered = account.delivered;
  };
  for (std::size_t i = 1; i + 4 < size; i += 5) {
    switch (data[i] % 6) {
      case 0: {
        if (outlet_closed) break;
        if (is_inline) {
          const std::uint64_t message = 0x0123456789abcdef;
          static_cast<void>(outlet->push(&message, 1));
          outlet->notify();
          break;
        }
        const std::uint32_t slot = pool.take();
        if (slot == SlotPool::kNone) break;
        std::uint32_t victim = SlotPool::kNone;
        const bool queued = outlet->push({slot, kElement * (data[i + 1] % 14U), 1}, victim);
        if (victim != SlotPool::kNone) pool.drop_user(victim);
        if (queued) pool.add_user(slot);
        pool.drop_user(slot);
        outlet->notify();
        break;
      }
      case 1: {
        if (inlet == nullptr) break;
        Arrival arrival;
        MessageStorage storage;
        inlet->go_on(data[i + 1]);
        const auto outcome = inlet->take(arrival, storage.bytes);
        if (outcome == Inlet::Outcome::broken) {
          inlet->let_go();  // it lives on until its samples have come back
          inlet = nullptr;
        } else if (outcome == Inlet::Outcome::taken && !is_inline) {
          const std::byte* end = arrival.data + kTailOffset + arrival.tail_bytes;
          if (arrival.data < slots->data(0) || end > slots->data(0) + std::size_t{kSlots} * kStride)
            std::abort();
          held.push_back(arrival);
        }
        break;
      }
      case 2:
        if (held.empty()) break;
        held.front().give_back();
        held.erase(held.begin());
        break;
      case 3:
        if (!outlet_closed && !outlet->collect(release)) {
          outlet->close();
          outlet->abandon(release);
          outlet_closed = true;
        }
        break;
      case 4:
        static_cast<void>(outlet->has_room());
        if (inlet != nullptr) static_cast<void>(inlet->dropped() + inlet->queued() + inlet->discard());
        break;
      default: {  // the peer, or a cosmic ray
        std::uint16_t where = 0;
        std::memcpy(&where, data + i + 1, sizeof where);
        where = static_cast<std::uint16_t>(where % memory->size());
        memory->data()[where] = static_cast<std::byte>(data[i + 3]);
        break;
      }
    }
    check_account();
  }
  for (const Arrival& arrival : held) arrival.give_back();
  if (inlet != nullptr) inlet->let_go();
  if (!outlet_closed) outlet->abandon(release);
  if (pool.free_slots() != kSlots) std::abort();
  return 0;
}
