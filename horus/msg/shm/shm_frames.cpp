// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm/shm_frames.hpp>

#include <utility>

#include <horus/msg/format/names.hpp>
#include <horus/msg/format/packing.hpp>

namespace horus::HORUS_ABI::msg::shm {
namespace {

// Frame's alternatives in order, from 1.
enum class Kind : std::uint8_t {
  hello = 1,
  welcome,
  goodbye,
  publishes,
  gone,
  memory,
  forget,
  bell,
  subscribe,
  connected,
  refused,
  ping,
  pong,
  slots,
  unmapped
};

void pack(Packer& out, const Hello& hello) {
  out.number(kMagic).number(hello.lowest).number(hello.highest).number(hello.features);
  out.text(hello.hub).number(hello.instance).number(static_cast<std::uint64_t>(hello.clock_offset));
}
void pack(Packer&, const Welcome&) {}
void pack(Packer& out, const Goodbye& frame) {
  out.text(frame.reason, kMaxText).number(std::uint8_t{frame.again});
}
void pack(Packer& out, const Publishes& frame) {
  out.number(frame.publisher).text(frame.topic).number(frame.layout_hash).text(frame.layout, kMaxText);
  out.number(std::uint8_t{frame.link}).text(frame.peer);
}
void pack(Packer& out, const Gone& frame) { out.number(frame.publisher); }
void pack(Packer& out, const Memory& frame) {
  out.number(frame.chunk).number(std::uint8_t{frame.links}).number(frame.bytes);
}
void pack(Packer& out, const Forget& frame) { out.number(frame.chunk); }
void pack(Packer& out, const BellIs& frame) { out.number(frame.bell); }
void pack(Packer& out, const Subscribe& frame) {
  out.number(frame.publisher).number(frame.request).number(frame.depth).number(frame.max_held);
  out.number(static_cast<std::uint8_t>(frame.overflow)).number(frame.bell).number(std::uint8_t{frame.stamps});
}
void pack(Packer& out, const Connected& frame) {
  out.number(frame.request).number(frame.word_chunk).number(frame.word_at).number(frame.slots);
  out.number(frame.stride).number(frame.link_chunk).number(frame.link_at).number(frame.depth);
  out.number(frame.bell);
}
void pack(Packer& out, const Refused& frame) {
  out.number(frame.request).number(std::uint8_t{frame.again}).text(frame.reason, kMaxText);
}
void pack(Packer& out, const Ping& frame) { out.number(frame.number); }
void pack(Packer& out, const Pong& frame) { out.number(frame.number); }
void pack(Packer& out, const Slots& frame) {
  out.number(frame.request).number(static_cast<std::uint32_t>(frame.runs.size()));
  for (const SlotRun& run : frame.runs)
    out.number(run.first).number(run.count).number(run.chunk).number(run.at);
}
void pack(Packer& out, const Unmapped& frame) { out.number(frame.chunk); }
void pack(Packer&, const Unknown&) {}

// Words of a peer's may go into the log.
std::string words(Unpacker& in) {
  std::string text = in.text(kMaxText);
  make_printable(text);
  return text;
}
std::string name(Unpacker& in, bool may_be_empty = false) {
  std::string text = in.text(kMaxName);
  if (!(may_be_empty && text.empty()) && !is_name(text)) in.fail();
  return text;
}
bool flag(Unpacker& in) {
  const auto value = in.number<std::uint8_t>();
  if (value > 1) in.fail();
  return value == 1;
}

// Ranges are checked here, so that nobody behind this has to.
Result<Frame> unpack(Kind kind, Unpacker& in) {
  switch (kind) {
    case Kind::hello: {
      if (in.number<std::uint32_t>() != kMagic) return malformed("(not a Horus hub)");
      Hello hello;
      hello.lowest = in.number<std::uint16_t>();
      hello.highest = in.number<std::uint16_t>();
      // What follows may differ: the caller refuses it. Version 1 had no second number.
      if (in.ok() && (hello.lowest < 2 || hello.lowest > kHighest || hello.highest < kLowest))
        return Frame(std::move(hello));
      hello.features = in.number<std::uint64_t>();
      hello.hub = in.text(kMaxName);
      if (!is_text(hello.hub) || hello.hub.empty()) in.fail();
      hello.instance = in.number<std::uint64_t>();
      hello.clock_offset = static_cast<std::int64_t>(in.number<std::uint64_t>());
      return Frame(std::move(hello));
    }
    case Kind::welcome: return Frame(Welcome{});
    case Kind::goodbye: {
      Goodbye frame;
      frame.reason = words(in);
      frame.again = flag(in);
      return Frame(std::move(frame));
    }
    case Kind::publishes: {
      Publishes frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.topic = name(in);
      frame.layout_hash = in.number<std::uint64_t>();
      frame.layout = words(in);
      frame.link = flag(in);
      frame.peer = in.text(kMaxName);
      if (!is_text(frame.peer)) in.fail();
      return Frame(std::move(frame));
    }
    case Kind::gone: return Frame(Gone{in.number<std::uint64_t>()});
    case Kind::memory: {
      Memory frame;
      frame.chunk = in.number<std::uint32_t>();
      frame.links = flag(in);
      frame.bytes = in.number<std::uint64_t>();
      return Frame(frame);
    }
    case Kind::forget: return Frame(Forget{in.number<std::uint32_t>()});
    case Kind::bell: {
      const BellIs frame{in.number<std::uint32_t>()};
      if (frame.bell >= kMaxBells) in.fail();
      return Frame(frame);
    }
    case Kind::subscribe: {
      Subscribe frame;
      frame.publisher = in.number<std::uint64_t>();
      frame.request = in.number<std::uint64_t>();
      frame.depth = in.number<std::uint32_t>();
      frame.max_held = in.number<std::uint32_t>();
      const auto overflow = in.number<std::uint8_t>();
      if (overflow > static_cast<std::uint8_t>(Overflow::drop_newest))
        return malformed("(an unknown overflow policy)");
      frame.overflow = static_cast<Overflow>(overflow);
      frame.bell = in.number<std::uint32_t>();
      frame.stamps = flag(in);
      const auto in_range = [](std::uint32_t n) { return n >= 1 && n <= SubscribeOptions::kMaxDepth; };
      if (in.ok() && (!in_range(frame.depth) || !in_range(frame.max_held)))
        return malformed("(a queue out of range)");
      return Frame(frame);
    }
    case Kind::connected: {
      Connected frame;
      frame.request = in.number<std::uint64_t>();
      frame.word_chunk = in.number<std::uint32_t>();
      frame.word_at = in.number<std::uint64_t>();
      frame.slots = in.number<std::uint32_t>();
      frame.stride = in.number<std::uint32_t>();
      frame.link_chunk = in.number<std::uint32_t>();
      frame.link_at = in.number<std::uint64_t>();
      frame.depth = in.number<std::uint32_t>();
      frame.bell = in.number<std::uint32_t>();
      const bool sound = frame.slots >= 1 && frame.slots <= AdvertiseOptions::kMaxSlots &&
                         frame.stride >= 64 && frame.stride % 64 == 0 &&
                         frame.stride <= AdvertiseOptions::kLargestMessage + 64 && frame.depth >= 1 &&
                         frame.depth <= SubscribeOptions::kMaxDepth && frame.word_at % 64 == 0 &&
                         frame.link_at % 128 == 0;
      if (in.ok() && !sound) return malformed("(memory out of range)");
      return Frame(frame);
    }
    case Kind::refused: {
      Refused frame;
      frame.request = in.number<std::uint64_t>();
      frame.again = flag(in);
      frame.reason = words(in);
      return Frame(std::move(frame));
    }
    case Kind::ping: return Frame(Ping{in.number<std::uint64_t>()});
    case Kind::pong: return Frame(Pong{in.number<std::uint64_t>()});
    case Kind::slots: {
      Slots frame;
      frame.request = in.number<std::uint64_t>();
      const auto count = in.number<std::uint32_t>();
      if (count == 0 || count > kMaxRuns) return malformed("(an impossible number of runs)");
      for (std::uint32_t i = 0; i < count && in.ok(); ++i) {
        SlotRun& run = frame.runs.emplace_back();
        run.first = in.number<std::uint32_t>();
        run.count = in.number<std::uint32_t>();
        run.chunk = in.number<std::uint32_t>();
        run.at = in.number<std::uint64_t>();
        if (run.at % 64 != 0) in.fail();
      }
      return Frame(std::move(frame));
    }
    case Kind::unmapped: return Frame(Unmapped{in.number<std::uint32_t>()});
  }
  return Frame(Unknown{static_cast<std::uint8_t>(kind)});
}

}  // namespace

std::vector<std::byte> encode(const Frame& frame) {
  std::vector<std::byte> bytes(4);
  Packer out(bytes);
  const auto* unknown = std::get_if<Unknown>(&frame);
  out.number(unknown != nullptr ? unknown->kind : static_cast<std::uint8_t>(frame.index() + 1));
  if (!std::holds_alternative<Hello>(frame)) out.number(static_cast<std::uint8_t>(descriptors_of(frame)));
  std::visit([&](const auto& value) { pack(out, value); }, frame);
  store(bytes.data(), static_cast<std::uint32_t>(bytes.size() - 4));
  return bytes;
}

Result<Decoded> decode(std::span<const std::byte> bytes) {
  Unpacker in(bytes);
  const auto kind = static_cast<Kind>(in.number<std::uint8_t>());
  Decoded decoded;
  if (kind != Kind::hello) decoded.descriptors = in.number<std::uint8_t>();
  if (decoded.descriptors > kMaxDescriptors) return malformed("(more descriptors than a frame may have)");
  auto frame = unpack(kind, in);
  if (!frame) return frame.error();
  if (!in.ok()) return malformed("(a field that cannot be, or a frame shorter than its fields)");
  if (decoded.descriptors < descriptors_of(*frame)) return malformed("(a frame without its descriptors)");
  decoded.frame = std::move(*frame);
  return decoded;
}

}  // namespace horus::HORUS_ABI::msg::shm
