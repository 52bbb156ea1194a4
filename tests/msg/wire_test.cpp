// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/wire.hpp>

#include <cstring>
#include <string>

#include <doctest/doctest.h>

#include <horus/base/crc32c.hpp>

namespace {

namespace wire = horus::msg::wire;
using horus::Layout;
using horus::Overflow;
using horus::Result;
using wire::Buffer;
using wire::Bytes;
using wire::FrameType;

Layout some_layout() {
  Layout layout;
  layout.name = "Scan";
  layout.fields = "u64 stamp_ns @0";
  layout.head_bytes = 8;
  layout.alignment = 8;
  layout.element_bytes = 4;
  layout.settle();
  return layout;
}

Bytes payload_of(const Buffer& frame) { return Bytes(frame).subspan(wire::kHeaderBytes); }

template <class T>
std::string problem(const Result<T>& result) {
  REQUIRE_FALSE(result.ok());
  CHECK(result.code() == horus::kBadInput);
  return result.error().message();
}

// Every shortening of a payload, and one byte too many, is refused.
template <class Decode>
void check_lengths(Bytes payload, Decode decode) {
  CHECK(decode(payload).ok());
  for (std::size_t size = 0; size < payload.size(); ++size) CHECK_FALSE(decode(payload.first(size)).ok());
  Buffer longer(payload.begin(), payload.end());
  longer.push_back(std::byte{0});
  CHECK_FALSE(decode(longer).ok());
}

wire::Header header_of(const Buffer& frame) {
  return *wire::decode_header(Bytes(frame).first(wire::kHeaderBytes));
}

TEST_SUITE("msg/wire") {
  TEST_CASE("a greeting says who is there") {
    wire::Greeting greeting;
    greeting.instance = 0x1122334455667788;
    greeting.process = 4711;
    greeting.idle_ms = 15000;
    greeting.hub = "rover";
    const Buffer sent = wire::encode(greeting);
    const Bytes first = Bytes(sent).first(wire::kPreambleBytes);
    const auto preamble = wire::decode_preamble(first, 4096);
    REQUIRE(preamble.ok());
    const Bytes body = Bytes(sent).subspan(wire::kPreambleBytes);
    CHECK(preamble->body_bytes == body.size());
    const auto got = wire::decode_greeting(*preamble, body);
    REQUIRE(got.ok());
    CHECK(got->instance == greeting.instance);
    CHECK(got->process == 4711);
    CHECK(got->idle_ms == 15000);
    CHECK(got->hub == "rover");
    const auto decode = [](Bytes bytes) {
      return wire::decode_greeting({static_cast<std::uint32_t>(bytes.size()), horus::crc32c(bytes)}, bytes);
    };
    const std::size_t first_version = body.size() - 16;  // without features, and what they bring
    for (std::size_t size = 0; size < body.size(); ++size)
      CHECK(decode(body.first(size)).ok() == (size == first_version));
    CHECK(got->features == wire::kFeatures);
    CHECK(decode(body.first(first_version))->features == 0);
    Buffer later(body.begin(), body.end());  // a later version says more
    later.resize(later.size() + 100);
    CHECK(decode(later).ok());
    CHECK(problem(wire::decode_greeting({preamble->body_bytes, 1}, body)).find("checksum") !=
          std::string::npos);
  }

  TEST_CASE("whoever speaks another protocol is told so, and what to do") {
    wire::Greeting greeting;
    greeting.idle_ms = 1;
    greeting.hub = "rover";
    const Buffer good = wire::encode(greeting);
    const auto refused = [&](std::size_t at, int value) {
      Buffer bytes(good.begin(), good.begin() + wire::kPreambleBytes);
      bytes[at] = static_cast<std::byte>(value);
      return problem(wire::decode_preamble(bytes, 4096));
    };
    CHECK(refused(0, 'G').find("no hub of Horus") != std::string::npos);
    const auto speaks = [&](int highest, int lowest) {
      Buffer bytes(good.begin(), good.begin() + wire::kPreambleBytes);
      bytes[8] = static_cast<std::byte>(highest);
      bytes[11] = static_cast<std::byte>(lowest);
      return problem(wire::decode_preamble(bytes, 4096));
    };
    CHECK(speaks(7, 7).find("version 7 of the protocol, this end version 2: update") != std::string::npos);
    CHECK(speaks(7, 0).find("version 7") != std::string::npos);
    for (const auto& [highest, lowest] : {std::pair(7, 2), std::pair(1, 0)}) {  // version 1 had no lowest one
      Buffer bytes(good.begin(), good.begin() + wire::kPreambleBytes);
      bytes[8] = static_cast<std::byte>(highest);
      bytes[11] = static_cast<std::byte>(lowest);
      CHECK(wire::decode_preamble(bytes, 4096).ok());
    }
    CHECK(refused(10, 9).find("byte order") != std::string::npos);
    CHECK(refused(15, 0xff).find("at most 4096") != std::string::npos);
    CHECK_FALSE(wire::decode_preamble(Bytes(good).first(19), 4096).ok());
  }

  TEST_CASE("a greeting without an idle limit or with an unprintable name is refused") {
    for (const bool silent : {true, false}) {
      wire::Greeting greeting;
      greeting.idle_ms = silent ? 0 : 1;
      greeting.hub = silent ? "rover" : "ro\nver";
      const Buffer bytes = wire::encode(greeting);
      const auto preamble = wire::decode_preamble(Bytes(bytes).first(wire::kPreambleBytes), 4096);
      const auto got = wire::decode_greeting(*preamble, Bytes(bytes).subspan(wire::kPreambleBytes));
      CHECK(problem(got).find(silent ? "idle" : "greeting") != std::string::npos);
    }
  }

  TEST_CASE("frames come back as they were") {
    Buffer frame;
    SUBCASE("advertise") {
      wire::Advertise sent;
      sent.publisher = 5;
      sent.link = true;
      sent.max_bytes = 1 << 20;
      sent.topic = "scan";
      sent.layout = some_layout();
      wire::append(frame, sent);
      CHECK(header_of(frame).type == FrameType::advertise);
      const auto got = wire::decode_advertise(payload_of(frame));
      REQUIRE(got.ok());
      CHECK(got->publisher == 5);
      CHECK(got->link);
      CHECK(got->max_bytes == 1 << 20);
      CHECK(got->topic == "scan");
      CHECK(got->layout.hash == sent.layout.hash);
      CHECK(got->layout.describe() == sent.layout.describe());
      check_lengths(payload_of(frame), wire::decode_advertise);
      frame[wire::kHeaderBytes + 8] = std::byte{2};  // neither a link nor none
      CHECK_FALSE(wire::decode_advertise(payload_of(frame)).ok());
    }
    SUBCASE("subscribe") {
      wire::Subscribe sent;
      sent.publisher = 6;
      sent.depth = 3;
      sent.overflow = Overflow::drop_newest;
      sent.layout = some_layout();
      wire::append(frame, 77, sent);
      CHECK(header_of(frame).channel == 77);
      const auto got = wire::decode_subscribe(payload_of(frame));
      REQUIRE(got.ok());
      CHECK(got->publisher == 6);
      CHECK(got->depth == 3);
      CHECK(got->overflow == Overflow::drop_newest);
      CHECK(got->layout.head_bytes == 8);
      check_lengths(payload_of(frame), wire::decode_subscribe);
      const auto refused = [&](std::uint32_t depth, int overflow) {
        Buffer bytes;
        sent.depth = depth;
        sent.overflow = static_cast<Overflow>(overflow);
        wire::append(bytes, 77, sent);
        return problem(wire::decode_subscribe(payload_of(bytes))).find("out of range") != std::string::npos;
      };
      CHECK(refused(0, 0));
      CHECK(refused(65537, 0));
      CHECK(refused(1, 3));
    }
    SUBCASE("withdraw") {
      wire::append(frame, wire::Withdraw{9});
      CHECK(wire::decode_withdraw(payload_of(frame))->publisher == 9);
      check_lengths(payload_of(frame), wire::decode_withdraw);
    }
    SUBCASE("account") {
      wire::append(frame, FrameType::account, 3, wire::Account{10, 4, 6});
      const auto got = wire::decode_account(payload_of(frame));
      REQUIRE(got.ok());
      CHECK(got->arrived == 10);
      CHECK(got->delivered == 4);
      CHECK(got->dropped == 6);
      check_lengths(payload_of(frame), wire::decode_account);
      for (const wire::Account wrong :
           {wire::Account{1, 2, 0}, wire::Account{2, 1, 2}, wire::Account{0, 0, 1}}) {
        Buffer bytes;
        wire::append(bytes, FrameType::account, 3, wrong);
        CHECK(problem(wire::decode_account(payload_of(bytes))).find("add up") != std::string::npos);
      }
    }
    SUBCASE("loss") {
      wire::append(frame, FrameType::end, 3, wire::Loss{12});
      CHECK(header_of(frame).type == FrameType::end);
      CHECK(wire::decode_loss(payload_of(frame))->lost == 12);
      check_lengths(payload_of(frame), wire::decode_loss);
    }
    SUBCASE("reason") {
      wire::append(frame, FrameType::goodbye, 0, wire::Reason{"bye\nbye"});
      CHECK(wire::decode_reason(payload_of(frame))->text == "bye bye");  // one line in a log
      check_lengths(payload_of(frame), wire::decode_reason);
    }
    SUBCASE("heartbeat") {
      wire::append_heartbeat(frame);
      CHECK(header_of(frame).length == 0);
    }
    const wire::Header header = header_of(frame);
    const Bytes head = Bytes(frame).first(wire::kHeaderBytes);
    CHECK(wire::is_intact(head, header, payload_of(frame)) == (header.type != FrameType::advertise));
  }

  TEST_CASE("a topic or type without a printable name is refused, and words that are too long are cut") {
    wire::Advertise sent;
    sent.layout = some_layout();
    Buffer nameless;
    wire::append(nameless, sent);
    CHECK_FALSE(wire::decode_advertise(payload_of(nameless)).ok());
    sent.topic = std::string(300, 't');
    sent.layout.fields = std::string(20000, 'f');
    sent.layout.fields[5] = '\n';
    Buffer long_names;
    wire::append(long_names, sent);
    const auto got = wire::decode_advertise(payload_of(long_names));
    REQUIRE(got.ok());
    CHECK(got->topic.size() == wire::kLongestName);
    CHECK(got->layout.fields.size() == wire::kLongestFields);
    CHECK(got->layout.fields[5] == ' ');
    // A length beyond what the field may have, with the bytes there.
    Buffer bytes;
    wire::append(bytes, FrameType::refuse, 1, wire::Reason{std::string(48 << 10, 'x')});
    bytes.push_back(std::byte{0});
    bytes[wire::kHeaderBytes] = std::byte{1};
    CHECK_FALSE(wire::decode_reason(payload_of(bytes)).ok());
  }

  TEST_CASE("a message travels behind its head, under one checksum") {
    const std::string text = "point cloud";
    const Bytes message = std::as_bytes(std::span(text));
    wire::DataPrefix prefix;
    prefix.number = 3;
    prefix.lost = 2;
    prefix.stamp_ns = -5;
    const auto head = wire::data_head(9, prefix, message);
    const Bytes header_bytes = Bytes(head).first(wire::kHeaderBytes);
    const auto header = wire::decode_header(header_bytes);
    REQUIRE(header.ok());
    CHECK(header->type == FrameType::data);
    CHECK(header->channel == 9);
    CHECK(header->length == wire::kDataPrefixBytes + text.size());
    const auto got = wire::decode_data_prefix(Bytes(head).subspan(wire::kHeaderBytes));
    CHECK(got.number == 3);
    CHECK(got.lost == 2);
    CHECK(got.stamp_ns == -5);
    std::uint32_t sum = wire::checksum_of_header(header_bytes);
    sum = horus::crc32c(Bytes(head).subspan(wire::kHeaderBytes), sum);
    CHECK(wire::is_intact(*header, horus::crc32c(message, sum)));
    CHECK_FALSE(wire::is_intact(*header, sum));
  }

  TEST_CASE("headers that cannot be are refused before anything is read for them") {
    Buffer frame;
    wire::append_heartbeat(frame);
    const auto refused = [&](std::size_t at, int value) {
      Buffer bytes = frame;
      bytes[at] = static_cast<std::byte>(value);
      return problem(wire::decode_header(bytes));
    };
    CHECK(refused(4, 0).find("unknown type 0") != std::string::npos);
    for (const std::size_t zero : {5, 6, 7})
      CHECK(refused(zero, 1).find("unknown type") != std::string::npos);
    CHECK(refused(3, 0xff).find("at most 61440") != std::string::npos);  // almost 4 GiB
    CHECK(refused(4, static_cast<int>(FrameType::data)).find("a message frame of 0 bytes") !=
          std::string::npos);
    CHECK_FALSE(wire::decode_header(Bytes(frame).first(15)).ok());
  }

  TEST_CASE("one flipped bit anywhere breaks the checksum") {
    Buffer frame;
    wire::append(frame, FrameType::account, 3, wire::Account{10, 4, 6});
    for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
      Buffer bytes = frame;
      bytes[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
      const Bytes head = Bytes(bytes).first(wire::kHeaderBytes);
      const auto header = wire::decode_header(head);
      if (!header) continue;
      const Bytes payload = payload_of(bytes);
      CHECK_FALSE((header->length == payload.size() && wire::is_intact(head, *header, payload)));
    }
  }
}

}  // namespace
