// SPDX-License-Identifier: Apache-2.0
// What travels between two hubs over a byte stream: the greeting, then frames. Pure functions over bytes; all numbers
// little-endian. A decoder believes nothing: it gives kBadInput and says what was wrong. Internal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/options.hpp>

namespace horus::HORUS_ABI::msg::wire {

using Bytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;

inline constexpr std::uint16_t kVersion = 2;  // the highest that we speak
inline constexpr std::uint8_t kLowestVersion = 1;
inline constexpr std::uint64_t kTellsState = 1;  // a feature: FrameType::state and started
inline constexpr std::uint64_t kTellsClock = 2;  // a feature: Greeting::clock_offset
inline constexpr std::uint64_t kFeatures = kTellsState | kTellsClock;  // those that we have
inline constexpr std::size_t kPreambleBytes = 20;                      // of a greeting, before its body
inline constexpr std::size_t kHeaderBytes = 16;                        // of every frame
inline constexpr std::size_t kDataPrefixBytes = 24;  // of a data frame's payload, before the message
inline constexpr std::size_t kDataHeadBytes = kHeaderBytes + kDataPrefixBytes;
inline constexpr std::size_t kLongestName = 255;          // of hubs, topics and types
inline constexpr std::size_t kLongestFields = 16 << 10;   // of a type's description; longer ones are cut
inline constexpr std::size_t kLongestText = 48 << 10;     // of a refusal; it may hold two descriptions
inline constexpr std::size_t kLongestControl = 60 << 10;  // payload of every frame that carries no message

// --- The greeting: what both ends send first ---------------------------------------------------------------------------

/// Who is there. The preamble is magic[8] version[2] byte_order[1] lowest_version[1] body_bytes[4] checksum[4]; a lowest
/// version of 0 is the version itself. Bytes behind the fields that we know belong to a later version and are passed over.
struct Greeting {
  std::uint64_t instance = 0;  ///< differs for every hub that ever was, as far as chance can tell
  std::uint32_t process = 0;
  std::uint32_t idle_ms = 0;  ///< the connection ends when nothing comes for so long
  std::string hub;
  std::uint64_t features = kFeatures;  ///< version 1 had none
  std::int64_t clock_offset = 0;       ///< see msg::clock_offset(); for an end on the same machine
};
struct Preamble {
  std::uint32_t body_bytes = 0;
  std::uint32_t checksum = 0;
};
[[nodiscard]] HORUS_API Buffer encode(const Greeting& greeting);
/// Errors: kBadInput for another protocol, version or byte order, and for a body beyond `limit` bytes.
[[nodiscard]] HORUS_API Result<Preamble> decode_preamble(Bytes bytes, std::size_t limit);
[[nodiscard]] HORUS_API Result<Greeting> decode_greeting(const Preamble& preamble, Bytes body);

// --- Frames -----------------------------------------------------------------------------------------------------------

enum class FrameType : std::uint8_t {
  advertise = 1,  ///< a publisher of the sender
  withdraw,       ///< it is gone
  subscribe,      ///< asks for a publisher's messages on a channel
  unsubscribe,    ///< enough of them; a last account
  refuse,         ///< an answer to subscribe: why not
  data,           ///< one message
  end,            ///< nothing more comes on the channel: its publisher is gone
  account,        ///< what became of a channel's messages, since the beginning
  loss,           ///< messages of a channel that were lost before they could be sent
  heartbeat,      ///< still there
  goodbye,        ///< the connection ends, and why
  state,          ///< the publisher of a channel is muted, or not any more
  started,        ///< how many messages the publisher had sent when the channel began
};
// Of later types only the length and the checksum matter: they are passed over.

/// length[4] type[1] zero[3] channel[4] checksum[4], over the first twelve bytes and the payload.
struct Header {
  std::uint32_t length = 0;  ///< bytes of the payload
  FrameType type = FrameType::heartbeat;
  std::uint32_t channel = 0;
  std::uint32_t checksum = 0;
};
struct Advertise {
  std::uint64_t publisher = 0;
  bool link = false;
  std::uint64_t max_bytes = 0;  ///< of one message
  std::string topic;
  Layout layout;
};
struct Withdraw {
  std::uint64_t publisher = 0;
};
struct Subscribe {
  std::uint64_t publisher = 0;
  std::uint32_t depth = 0;
  Overflow overflow = Overflow::drop_oldest;
  Layout layout;
};
/// Of one channel: counts since its beginning.
struct Account {
  std::uint64_t arrived = 0;
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
};
struct Loss {
  std::uint64_t lost = 0;  ///< on this channel since the beginning
};
struct Reason {
  std::string text;
};
/// As PublisherWord has it: a state, and how often it has changed.
struct State {
  std::uint32_t word = 0;
};
struct Started {
  std::uint64_t published = 0;
};
struct DataPrefix {
  std::uint64_t number = 0;  ///< of the messages sent on this channel, from 0, without gaps
  std::uint64_t lost = 0;    ///< as in Loss
  std::int64_t stamp_ns = 0;
};

/// Whole frames, checksum included, appended to `to`.
HORUS_API void append(Buffer& to, const Advertise& frame);
HORUS_API void append(Buffer& to, const Withdraw& frame);
HORUS_API void append(Buffer& to, std::uint32_t channel, const Subscribe& frame);
HORUS_API void append(Buffer& to, FrameType account_or_unsubscribe, std::uint32_t channel,
                      const Account& frame);
HORUS_API void append(Buffer& to, FrameType loss_or_end, std::uint32_t channel, const Loss& frame);
HORUS_API void append(Buffer& to, FrameType refuse_or_goodbye, std::uint32_t channel, const Reason& frame);
HORUS_API void append(Buffer& to, std::uint32_t channel, const State& frame);
HORUS_API void append(Buffer& to, std::uint32_t channel, const Started& frame);
HORUS_API void append_heartbeat(Buffer& to);
/// Writes the header and prefix of a data frame, kDataHeadBytes; the message follows it on the wire. One sum over both where
/// the message stands there already.
HORUS_API void write_data_head(std::byte* to, std::uint32_t channel, const DataPrefix& prefix,
                               Bytes message) noexcept;
[[nodiscard]] inline std::array<std::byte, kDataHeadBytes> data_head(std::uint32_t channel,
                                                                     const DataPrefix& prefix,
                                                                     Bytes message) noexcept {
  std::array<std::byte, kDataHeadBytes> head;
  write_data_head(head.data(), channel, prefix, message);
  return head;
}

/// Errors: kBadInput for what is no frame's type, and a length that its type cannot have. A data frame's upper limit
/// is its channel's matter.
[[nodiscard]] HORUS_API Result<Header> decode_header(Bytes bytes);
/// True when the checksum is that of the header's `bytes` and the payload.
[[nodiscard]] HORUS_API bool is_intact(Bytes header_bytes, const Header& header, Bytes payload) noexcept;
/// The same, when the payload came in pieces: `sum` is what checksum_of_header() began and crc32c() went on with.
[[nodiscard]] HORUS_API std::uint32_t checksum_of_header(Bytes header_bytes) noexcept;
[[nodiscard]] HORUS_API bool is_intact(const Header& header, std::uint32_t sum) noexcept;

// Of a payload. Errors: kBadInput.
[[nodiscard]] HORUS_API Result<Advertise> decode_advertise(Bytes payload);
[[nodiscard]] HORUS_API Result<Withdraw> decode_withdraw(Bytes payload);
[[nodiscard]] HORUS_API Result<Subscribe> decode_subscribe(Bytes payload);
[[nodiscard]] HORUS_API Result<Account> decode_account(Bytes payload);
[[nodiscard]] HORUS_API Result<Loss> decode_loss(Bytes payload);
[[nodiscard]] HORUS_API Result<Reason> decode_reason(Bytes payload);
[[nodiscard]] HORUS_API Result<State> decode_state(Bytes payload);
[[nodiscard]] HORUS_API Result<Started> decode_started(Bytes payload);
/// Of the first kDataPrefixBytes.
[[nodiscard]] HORUS_API DataPrefix decode_data_prefix(Bytes payload) noexcept;

}  // namespace horus::HORUS_ABI::msg::wire
