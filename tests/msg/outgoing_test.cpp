// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/outgoing.hpp>

#include <array>
#include <cstring>
#include <memory>

#include <doctest/doctest.h>

#include <horus/msg/session/transport.hpp>

namespace {

using horus::SubscribeOptions;
using horus::msg::Arrival;
using horus::msg::Inbox;
using horus::msg::Outbox;
using horus::msg::Outgoing;
namespace io = horus::io;
namespace wire = horus::msg::wire;

struct Scan {
  std::int64_t number = 0;
  using Tail = std::byte;
};
constexpr std::size_t kSize = 10'000;

// Messages in slots, as a session takes them from a publisher.
struct Slots {
  Slots() {
    const horus::Layout& layout = horus::layout_of<Scan>();
    outbox =
        Outbox::create("scan", layout, horus::AdvertiseOptions().with_max_bytes(kSize).with_max_queued(8))
            .or_throw();
    inbox = std::make_shared<Inbox>("scan", layout, SubscribeOptions().with_depth(4).with_max_held(4));
    horus::msg::connect_here(*outbox, inbox).or_throw();
    outbox->look_after_links();
  }
  Arrival take(std::uint8_t fill) {
    const std::uint32_t slot = outbox->loan(kSize);
    std::memset(outbox->data(slot), fill, kSize);
    CHECK(outbox->publish(slot, kSize - sizeof(Scan)));
    Arrival arrival;
    int failure = 0;
    CHECK(inbox->take(arrival, failure, nullptr));
    CHECK(failure == 0);
    return arrival;
  }
  // Held by somebody.
  [[nodiscard]] std::uint32_t held() const {
    outbox->look_after_links();
    return outbox->pool().reserved() - outbox->pool().free_slots();
  }
  std::shared_ptr<Outbox> outbox;
  std::shared_ptr<Inbox> inbox;
};

wire::Buffer message_of(std::uint8_t fill, std::size_t size) {
  return wire::Buffer(size, static_cast<std::byte>(fill));
}

void add_frame(wire::Buffer& to, std::uint64_t number, const wire::Buffer& message) {
  const auto head = wire::data_head(3, {.number = number, .lost = 1, .stamp_ns = 2}, message);
  to.insert(to.end(), head.begin(), head.end());
  to.insert(to.end(), message.begin(), message.end());
}

TEST_SUITE("msg/outgoing") {
  TEST_CASE("what was appended leaves in its order, whether it was copied or is still in its slot") {
    Slots slots;
    for (const std::size_t most : {7, 1000, 9'999, 10'000, 64 << 10}) {
      for (const std::size_t parts_at_once : {1, 2, 16}) {
        CAPTURE(most);
        CAPTURE(parts_at_once);
        Outgoing outgoing;
        CHECK(outgoing.empty());
        wire::Buffer expected;
        const auto small = message_of(1, 64);
        outgoing.append(3, {.number = 0, .lost = 1, .stamp_ns = 2}, small);
        add_frame(expected, 0, small);
        wire::append_heartbeat(outgoing.frames());
        wire::append_heartbeat(expected);
        for (std::uint8_t number = 1; number < 3; ++number) {
          const Arrival slot = slots.take(number);
          outgoing.append_slot(3, {.number = number, .lost = 1, .stamp_ns = 2}, {slot.data, kSize}, slot);
          add_frame(expected, number, message_of(number, kSize));
        }
        outgoing.append(3, {.number = 3, .lost = 1, .stamp_ns = 2}, small);
        add_frame(expected, 3, small);

        wire::Buffer sent;
        std::array<io::Bytes, 16> parts;
        const auto some = std::span(parts).first(parts_at_once);
        while (const std::size_t used = outgoing.next(some, most)) {
          std::size_t bytes = 0;
          for (const io::Bytes& part : some.first(used)) {
            sent.insert(sent.end(), part.data(), part.data() + part.size());
            bytes += part.size();
          }
          CHECK(bytes <= most);
          static_cast<void>(outgoing.sent());
        }
        CHECK(sent == expected);
        CHECK(slots.held() == 0);
        outgoing.clear();
        CHECK(outgoing.empty());
      }
    }
  }

  TEST_CASE("a slot is given back when all of it has been sent, and not before") {
    Slots slots;
    Outgoing outgoing;
    for (std::uint8_t number = 0; number < 2; ++number) {
      const Arrival slot = slots.take(number);
      outgoing.append_slot(3, {.number = number}, {slot.data, kSize}, slot);
    }
    CHECK(slots.held() == 2);
    std::array<io::Bytes, 16> parts;
    CHECK(outgoing.next(parts, wire::kDataHeadBytes + kSize - 1) == 2);
    CHECK_FALSE(outgoing.sent());
    CHECK(slots.held() == 2);
    CHECK(outgoing.next(parts, 1) == 1);
    CHECK(slots.held() == 2);  // it is being sent
    CHECK(outgoing.sent());
    CHECK(slots.held() == 1);
    CHECK(outgoing.next(parts, SIZE_MAX) == 2);
    CHECK(outgoing.sent());
    CHECK(slots.held() == 0);
    CHECK(outgoing.next(parts, SIZE_MAX) == 0);
    CHECK_FALSE(outgoing.sent());
  }

  TEST_CASE("slots of messages that are never sent are given back") {
    Slots slots;
    {
      Outgoing outgoing;
      Outgoing other;
      const Arrival slot = slots.take(1);
      outgoing.append_slot(3, {}, {slot.data, kSize}, slot);
      other.swap(outgoing);
      CHECK(outgoing.empty());
      std::array<io::Bytes, 16> parts;
      CHECK(other.next(parts, 100) == 2);
      CHECK(slots.held() == 1);
    }
    CHECK(slots.held() == 0);
  }

  TEST_CASE("messages have a limit of their own, and do not count as frames that nobody may hold up") {
    Outgoing outgoing;
    wire::append_heartbeat(outgoing.frames());
    const std::size_t control = outgoing.control_bytes();
    CHECK(control == wire::kHeaderBytes);
    const auto message = message_of(1, 1000);
    std::uint64_t number = 0;
    while (!outgoing.is_full() && number < 1000) outgoing.append(3, {.number = number++}, message);
    CHECK(number == 64);  // 64 KiB
    CHECK(outgoing.control_bytes() == control);
    Slots slots;
    Outgoing large;
    const Arrival slot = slots.take(1);
    large.append_slot(3, {}, {slot.data, kSize}, slot);
    CHECK_FALSE(large.is_full());
    large.append(3, {}, message_of(1, (64 << 10) - 2 * wire::kDataHeadBytes));
    CHECK(large.is_full());
  }
}

}  // namespace
