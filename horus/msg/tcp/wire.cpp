// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/wire.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

#include <horus/base/crc32c.hpp>
#include <horus/msg/format/names.hpp>
#include <horus/msg/format/packing.hpp>

namespace horus::HORUS_ABI::msg::wire {
namespace {

constexpr std::string_view kMagic = "HORUSHUB";
constexpr std::uint8_t kByteOrder = std::endian::native == std::endian::little ? 1 : 2;  // of messages
constexpr std::size_t kChecked = 12;  // bytes of a header under its checksum

class Writer : public Packer {
 public:
  using Packer::Packer;
  Writer& layout(const Layout& layout) {
    number(layout.hash).number(layout.head_bytes).number(layout.alignment).number(layout.element_bytes);
    text(layout.name, kLongestName).text(layout.fields, kLongestFields);
    return *this;
  }
};

class Reader : public Unpacker {
 public:
  using Unpacker::Unpacker;
  // A name that may stand in a log line.
  std::string name() {
    std::string name = text(kLongestName);
    if (name.empty() || !is_text(name)) fail();
    return name;
  }
  Layout layout() {
    Layout layout;
    layout.hash = number<std::uint64_t>();
    layout.head_bytes = number<std::uint32_t>();
    layout.alignment = number<std::uint32_t>();
    layout.element_bytes = number<std::uint32_t>();
    layout.name = name();
    layout.fields = text(kLongestFields);
    make_printable(layout.fields);  // a peer's words may go into the log
    return layout;
  }
};

void store_header(std::byte* to, std::uint32_t length, FrameType type, std::uint32_t channel) noexcept {
  std::memset(to, 0, kHeaderBytes);
  store(to, length);
  to[4] = static_cast<std::byte>(type);
  store(to + 8, channel);
}

// Appends a header, whatever `fill` writes behind it, and the checksum.
template <class Fill>
void append_frame(Buffer& to, FrameType type, std::uint32_t channel, Fill&& fill) {
  const std::size_t start = to.size();
  to.resize(start + kHeaderBytes);
  Writer writer(to);
  fill(writer);
  std::byte* header = to.data() + start;
  const std::size_t length = to.size() - start - kHeaderBytes;
  store_header(header, static_cast<std::uint32_t>(length), type, channel);
  store(header + kChecked,
        crc32c({header + kHeaderBytes, length}, checksum_of_header({header, kHeaderBytes})));
}

template <class T>
Result<T> whole(const Reader& reader, T value, const char* frame) {
  if (!reader.complete()) return malformed(fmt::format("(a broken {} frame)", frame));
  return value;
}

bool is_checked() noexcept {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  return false;  // a fuzzer does not guess checksums
#else
  return true;
#endif
}

}  // namespace

// --- The greeting -----------------------------------------------------------------------------------------------------

Buffer encode(const Greeting& greeting) {
  Buffer buffer(kPreambleBytes);
  Writer(buffer)
      .number(greeting.instance)
      .number(greeting.process)
      .number(greeting.idle_ms)
      .text(greeting.hub, kLongestName)
      .number(greeting.features)
      .number(static_cast<std::uint64_t>(greeting.clock_offset));
  const Bytes body = Bytes(buffer).subspan(kPreambleBytes);
  std::memcpy(buffer.data(), kMagic.data(), kMagic.size());
  store(buffer.data() + 8, kVersion);
  buffer[10] = static_cast<std::byte>(kByteOrder);
  buffer[11] = static_cast<std::byte>(kLowestVersion);
  store(buffer.data() + 12, static_cast<std::uint32_t>(body.size()));
  store(buffer.data() + 16, crc32c(body));
  return buffer;
}

Result<Preamble> decode_preamble(Bytes bytes, std::size_t limit) {
  if (bytes.size() != kPreambleBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0)
    return malformed("(what answers there is no hub of Horus)");
  const auto version = load<std::uint16_t>(bytes.data() + 8);
  const std::uint16_t lowest =
      bytes[11] == std::byte{0} ? version : std::to_integer<std::uint16_t>(bytes[11]);
  if (lowest > kVersion || version < kLowestVersion) {
    return malformed(
        fmt::format("(it speaks version {} of the protocol, this end version {}: update the older program)",
                    version, kVersion));
  }
  if (static_cast<std::uint8_t>(bytes[10]) != kByteOrder)
    return malformed("(its machine has another byte order)");
  const Preamble preamble{load<std::uint32_t>(bytes.data() + 12), load<std::uint32_t>(bytes.data() + 16)};
  if (preamble.body_bytes > limit)
    return malformed(fmt::format("(a greeting of {} bytes; at most {})", preamble.body_bytes, limit));
  return preamble;
}

Result<Greeting> decode_greeting(const Preamble& preamble, Bytes body) {
  if (is_checked() && crc32c(body) != preamble.checksum)
    return malformed("(a greeting with a wrong checksum)");
  Reader reader(body);
  Greeting greeting;
  greeting.instance = reader.number<std::uint64_t>();
  greeting.process = reader.number<std::uint32_t>();
  greeting.idle_ms = reader.number<std::uint32_t>();
  greeting.hub = reader.name();
  if (!reader.ok()) return malformed("(a broken greeting frame)");
  if (greeting.idle_ms == 0) return malformed("(a greeting without an idle limit)");
  if (reader.complete()) {
    greeting.features = 0;  // version 1 had none
    return greeting;
  }
  greeting.features = reader.number<std::uint64_t>();
  if ((greeting.features & kTellsClock) != 0)
    greeting.clock_offset = static_cast<std::int64_t>(reader.number<std::uint64_t>());
  if (!reader.ok()) return malformed("(a broken greeting frame)");
  return greeting;
}

// --- Frames -----------------------------------------------------------------------------------------------------------

void append(Buffer& to, const Advertise& frame) {
  append_frame(to, FrameType::advertise, 0, [&](Writer& writer) {
    writer.number(frame.publisher).number(std::uint8_t{frame.link}).number(frame.max_bytes);
    writer.text(frame.topic, kLongestName);
    writer.layout(frame.layout);
  });
}
void append(Buffer& to, const Withdraw& frame) {
  append_frame(to, FrameType::withdraw, 0, [&](Writer& writer) { writer.number(frame.publisher); });
}
void append(Buffer& to, std::uint32_t channel, const Subscribe& frame) {
  append_frame(to, FrameType::subscribe, channel, [&](Writer& writer) {
    writer.number(frame.publisher).number(frame.depth).number(static_cast<std::uint8_t>(frame.overflow));
    writer.layout(frame.layout);
  });
}
void append(Buffer& to, FrameType type, std::uint32_t channel, const Account& frame) {
  append_frame(to, type, channel, [&](Writer& writer) {
    writer.number(frame.arrived).number(frame.delivered).number(frame.dropped);
  });
}
void append(Buffer& to, FrameType type, std::uint32_t channel, const Loss& frame) {
  append_frame(to, type, channel, [&](Writer& writer) { writer.number(frame.lost); });
}
void append(Buffer& to, FrameType type, std::uint32_t channel, const Reason& frame) {
  append_frame(to, type, channel, [&](Writer& writer) { writer.text(frame.text, kLongestText); });
}
void append(Buffer& to, std::uint32_t channel, const State& frame) {
  append_frame(to, FrameType::state, channel, [&](Writer& writer) { writer.number(frame.word); });
}
void append(Buffer& to, std::uint32_t channel, const Started& frame) {
  append_frame(to, FrameType::started, channel, [&](Writer& writer) { writer.number(frame.published); });
}
void append_heartbeat(Buffer& to) {
  append_frame(to, FrameType::heartbeat, 0, [](Writer&) {});
}

void write_data_head(std::byte* to, std::uint32_t channel, const DataPrefix& prefix, Bytes message) noexcept {
  store_header(to, static_cast<std::uint32_t>(kDataPrefixBytes + message.size()), FrameType::data, channel);
  std::byte* const payload = to + kHeaderBytes;
  store(payload, prefix.number);
  store(payload + 8, prefix.lost);
  store(payload + 16, static_cast<std::uint64_t>(prefix.stamp_ns));
  std::uint32_t sum = checksum_of_header({to, kHeaderBytes});
  if (message.data() == to + kDataHeadBytes) {
    sum = crc32c({payload, kDataPrefixBytes + message.size()}, sum);
  } else {
    sum = crc32c(message, crc32c({payload, kDataPrefixBytes}, sum));
  }
  store(to + kChecked, sum);
}

Result<Header> decode_header(Bytes bytes) {
  if (bytes.size() != kHeaderBytes) return malformed("(a frame without a header)");
  Header header;
  header.length = load<std::uint32_t>(bytes.data());
  const auto type = static_cast<std::uint8_t>(bytes[4]);
  header.channel = load<std::uint32_t>(bytes.data() + 8);
  header.checksum = load<std::uint32_t>(bytes.data() + kChecked);
  const bool zeros = bytes[5] == std::byte{0} && bytes[6] == std::byte{0} && bytes[7] == std::byte{0};
  if (type < 1 || !zeros) return malformed(fmt::format("(a frame of unknown type {})", type));
  header.type = static_cast<FrameType>(type);
  if (header.type == FrameType::data) {
    if (header.length < kDataPrefixBytes)
      return malformed(fmt::format("(a message frame of {} bytes)", header.length));
  } else if (header.length > kLongestControl) {
    return malformed(fmt::format("(a frame of {} bytes; at most {})", header.length, kLongestControl));
  }
  return header;
}

std::uint32_t checksum_of_header(Bytes header_bytes) noexcept { return crc32c(header_bytes.first(kChecked)); }

bool is_intact(const Header& header, std::uint32_t sum) noexcept {
  return !is_checked() || sum == header.checksum;
}

bool is_intact(Bytes header_bytes, const Header& header, Bytes payload) noexcept {
  return is_intact(header, crc32c(payload, checksum_of_header(header_bytes)));
}

Result<Advertise> decode_advertise(Bytes payload) {
  Reader reader(payload);
  Advertise frame;
  frame.publisher = reader.number<std::uint64_t>();
  const auto link = reader.number<std::uint8_t>();
  frame.link = link == 1;
  frame.max_bytes = reader.number<std::uint64_t>();
  frame.topic = reader.name();
  frame.layout = reader.layout();
  if (link > 1) return malformed("(a broken advertise frame)");
  return whole(reader, std::move(frame), "advertise");
}

Result<Withdraw> decode_withdraw(Bytes payload) {
  Reader reader(payload);
  const Withdraw frame{reader.number<std::uint64_t>()};
  return whole(reader, frame, "withdraw");
}

Result<Subscribe> decode_subscribe(Bytes payload) {
  Reader reader(payload);
  Subscribe frame;
  frame.publisher = reader.number<std::uint64_t>();
  frame.depth = reader.number<std::uint32_t>();
  const auto overflow = reader.number<std::uint8_t>();
  frame.overflow = static_cast<Overflow>(overflow);
  frame.layout = reader.layout();
  if (overflow > static_cast<std::uint8_t>(Overflow::drop_newest) || frame.depth < 1 ||
      frame.depth > SubscribeOptions::kMaxDepth)
    return malformed("(a subscribe frame with options out of range)");
  return whole(reader, std::move(frame), "subscribe");
}

Result<Account> decode_account(Bytes payload) {
  Reader reader(payload);
  Account frame;
  frame.arrived = reader.number<std::uint64_t>();
  frame.delivered = reader.number<std::uint64_t>();
  frame.dropped = reader.number<std::uint64_t>();
  if (frame.delivered > frame.arrived || frame.dropped > frame.arrived - frame.delivered)
    return malformed("(an account that does not add up)");
  return whole(reader, frame, "account");
}

Result<Loss> decode_loss(Bytes payload) {
  Reader reader(payload);
  const Loss frame{reader.number<std::uint64_t>()};
  return whole(reader, frame, "loss");
}

Result<Reason> decode_reason(Bytes payload) {
  Reader reader(payload);
  Reason frame{reader.text(kLongestText)};
  make_printable(frame.text);
  return whole(reader, std::move(frame), "reason");
}

Result<State> decode_state(Bytes payload) {
  Reader reader(payload);
  const State frame{reader.number<std::uint32_t>()};
  return whole(reader, frame, "state");
}

Result<Started> decode_started(Bytes payload) {
  Reader reader(payload);
  const Started frame{reader.number<std::uint64_t>()};
  return whole(reader, frame, "started");
}

DataPrefix decode_data_prefix(Bytes payload) noexcept {
  DataPrefix prefix;
  prefix.number = load<std::uint64_t>(payload.data());
  prefix.lost = load<std::uint64_t>(payload.data() + 8);
  prefix.stamp_ns = static_cast<std::int64_t>(load<std::uint64_t>(payload.data() + 16));
  return prefix;
}

}  // namespace horus::HORUS_ABI::msg::wire
