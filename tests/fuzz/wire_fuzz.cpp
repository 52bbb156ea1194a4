// SPDX-License-Identifier: Apache-2.0
// Every decoder of the wire format over any bytes. What is decoded must survive being encoded and decoded again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include <horus/msg/tcp/wire.hpp>

namespace {

namespace wire = horus::msg::wire;
using wire::Buffer;
using wire::Bytes;
using wire::FrameType;

void must(bool holds) {
  if (!holds) std::abort();
}

Bytes payload_of(const Buffer& frame) { return Bytes(frame).subspan(wire::kHeaderBytes); }

// What follows depends on the kind of frame.
void decode(FrameType type, std::uint32_t channel, Bytes payload) {
  Buffer again;
  switch (type) {
    case FrameType::advertise:
      if (const auto frame = wire::decode_advertise(payload)) {
        wire::append(again, *frame);
        must(wire::decode_advertise(payload_of(again)).ok());
      }
      break;
    case FrameType::subscribe:
      if (const auto frame = wire::decode_subscribe(payload)) {
        wire::append(again, channel, *frame);
        must(wire::decode_subscribe(payload_of(again)).ok());
      }
      break;
    case FrameType::withdraw:
      if (const auto frame = wire::decode_withdraw(payload)) wire::append(again, *frame);
      break;
    case FrameType::account:
    case FrameType::unsubscribe:
      if (const auto frame = wire::decode_account(payload)) {
        must(frame->delivered + frame->dropped <= frame->arrived);
        wire::append(again, type, channel, *frame);
      }
      break;
    case FrameType::loss:
    case FrameType::end:
      if (const auto frame = wire::decode_loss(payload)) wire::append(again, type, channel, *frame);
      break;
    case FrameType::state:
      if (const auto frame = wire::decode_state(payload)) wire::append(again, channel, *frame);
      break;
    case FrameType::started:
      if (const auto frame = wire::decode_started(payload)) wire::append(again, channel, *frame);
      break;
    case FrameType::refuse:
    case FrameType::goodbye:
      if (const auto frame = wire::decode_reason(payload)) {
        must(frame->text.find('\n') == std::string::npos);
        wire::append(again, type, channel, *frame);
        must(wire::decode_reason(payload_of(again)).ok());
      }
      break;
    case FrameType::data:
      if (payload.size() >= wire::kDataPrefixBytes) static_cast<void>(wire::decode_data_prefix(payload));
      break;
    case FrameType::heartbeat: break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes bytes = std::as_bytes(std::span(data, size));
  if (size >= wire::kPreambleBytes) {
    if (const auto preamble = wire::decode_preamble(bytes.first(wire::kPreambleBytes), 4096)) {
      must(preamble->body_bytes <= 4096);
      static_cast<void>(wire::decode_greeting(*preamble, bytes.subspan(wire::kPreambleBytes)));
    }
  }
  if (size >= wire::kHeaderBytes) {
    if (const auto header = wire::decode_header(bytes.first(wire::kHeaderBytes))) {
      const Bytes payload = bytes.subspan(wire::kHeaderBytes);
      static_cast<void>(wire::is_intact(bytes.first(wire::kHeaderBytes), *header, payload));
      decode(header->type, header->channel, payload);
    }
  }
  return 0;
}
