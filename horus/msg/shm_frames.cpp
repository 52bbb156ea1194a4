// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm_frames.hpp>

#include <utility>

#include <horus/msg/packing.hpp>

namespace horus::msg::shm {
namespace {

enum class Kind : std::uint8_t { hello = 1, publishes, gone, subscribe, connected, refused };

void pack(Packer& out, const Hello& hello) {
  out.number(static_cast<std::uint8_t>(Kind::hello)).number(kMagic).number(hello.version);
  out.text(hello.hub).text(hello.instance);
}
void pack(Packer& out, const Publishes& frame) {
  out.number(static_cast<std::uint8_t>(Kind::publishes)).number(frame.publisher).text(frame.topic);
  out.number(frame.layout_hash).text(frame.layout, kMaxText);
  out.number(std::uint8_t{frame.link}).text(frame.peer);
}
void pack(Packer& out, const Gone& frame) {
  out.number(static_cast<std::uint8_t>(Kind::gone)).number(frame.publisher);
}
void pack(Packer& out, const Subscribe& frame) {
  out.number(static_cast<std::uint8_t>(Kind::subscribe)).number(frame.publisher).number(frame.subscriber);
  out.number(frame.depth).number(frame.max_held).number(static_cast<std::uint8_t>(frame.overflow));
}
void pack(Packer& out, const Connected& frame) {
  out.number(static_cast<std::uint8_t>(Kind::connected)).number(frame.publisher).number(frame.subscriber);
  out.number(frame.slots).number(frame.stride).number(frame.depth);
}
void pack(Packer& out, const Refused& frame) {
  out.number(static_cast<std::uint8_t>(Kind::refused)).number(frame.publisher).number(frame.subscriber);
  out.text(frame.reason, kMaxText);
}

// Ranges are checked here, so that nobody behind this has to.
Result<Frame> unpack(Kind kind, Unpacker& in) {
  switch (kind) {
    case Kind::hello: {
      if (in.number<std::uint32_t>() != kMagic) return malformed("(not a Horus hub)");
      Hello hello;
      hello.version = in.number<std::uint16_t>();
      if (in.ok() && hello.version != kVersion)
        return Frame(hello);  // what follows may differ: the caller refuses it
      hello.hub = in.text(kMaxName);
      hello.instance = in.text(kMaxName);
      return Frame(std::move(hello));
    }
    case Kind::publishes: {
      Publishes frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.topic = in.text(kMaxName);
      frame.layout_hash = in.number<std::uint64_t>();
      frame.layout = in.text(kMaxText);
      frame.link = in.number<std::uint8_t>() != 0;
      frame.peer = in.text(kMaxName);
      return Frame(std::move(frame));
    }
    case Kind::gone: return Frame(Gone{in.number<std::uint64_t>()});
    case Kind::subscribe: {
      Subscribe frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.subscriber = in.number<std::uint64_t>();
      frame.depth = in.number<std::uint32_t>();
      frame.max_held = in.number<std::uint32_t>();
      const auto overflow = in.number<std::uint8_t>();
      if (overflow > static_cast<std::uint8_t>(Overflow::drop_newest))
        return malformed("(an unknown overflow policy)");
      frame.overflow = static_cast<Overflow>(overflow);
      const auto in_range = [](std::uint32_t n) { return n >= 1 && n <= SubscribeOptions::kMaxDepth; };
      if (in.ok() && (!in_range(frame.depth) || !in_range(frame.max_held)))
        return malformed("(a queue out of range)");
      return Frame(frame);
    }
    case Kind::connected: {
      Connected frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.subscriber = in.number<std::uint64_t>();
      frame.slots = in.number<std::uint32_t>();
      frame.stride = in.number<std::uint32_t>();
      frame.depth = in.number<std::uint32_t>();
      const bool sound = frame.slots >= 1 && frame.slots <= AdvertiseOptions::kMaxSlots &&
                         frame.stride >= 64 && frame.stride % 64 == 0 &&
                         frame.stride <= AdvertiseOptions::kLargestMessage + 64 && frame.depth >= 1 &&
                         frame.depth <= SubscribeOptions::kMaxDepth;
      if (in.ok() && !sound) return malformed("(memory out of range)");
      return Frame(frame);
    }
    case Kind::refused: {
      Refused frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.subscriber = in.number<std::uint64_t>();
      frame.reason = in.text(kMaxText);
      return Frame(std::move(frame));
    }
  }
  return malformed("(an unknown kind)");
}

}  // namespace

std::vector<std::byte> encode(const Frame& frame) {
  std::vector<std::byte> bytes(4);
  Packer out(bytes);
  std::visit([&](const auto& value) { pack(out, value); }, frame);
  store(bytes.data(), static_cast<std::uint32_t>(bytes.size() - 4));
  return bytes;
}

Result<Frame> decode(std::span<const std::byte> bytes) {
  Unpacker in(bytes);
  const auto kind = in.number<std::uint8_t>();
  auto frame = unpack(static_cast<Kind>(kind), in);
  if (!frame) return frame;
  const auto* hello = std::get_if<Hello>(&*frame);
  if (hello != nullptr && in.ok() && hello->version != kVersion) return frame;
  if (!in.complete()) return malformed(in.ok() ? "(longer than its fields)" : "(shorter than its fields)");
  return frame;
}

}  // namespace horus::msg::shm
