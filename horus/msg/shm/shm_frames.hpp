// SPDX-License-Identifier: Apache-2.0
// What two processes say to each other over the Unix socket through which they share memory. A frame is its length (u32,
// at most kMaxFrame), its kind (u8), how many descriptors travel with it (u8; a hello has none, and no such byte) and its
// fields. Whatever follows the fields that we know belongs to a later version and is passed over, as are whole frames of a
// kind that we do not know. Pure functions; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/options.hpp>

namespace horus::HORUS_ABI::msg::shm {

inline constexpr std::uint32_t kMagic = 0x4d535248;  // "HRSM"
inline constexpr std::uint16_t kLowest = 4;          // versions that we speak
inline constexpr std::uint16_t kHighest = 4;
inline constexpr std::size_t kMaxFrame = 4096;     // bytes behind the length
inline constexpr std::size_t kMaxName = 255;       // bytes of a topic's or hub's name
inline constexpr std::size_t kMaxText = 2048;      // bytes of a layout's description or a reason
inline constexpr std::size_t kMaxDescriptors = 4;  // of one frame
inline constexpr std::size_t kMaxRuns = 128;       // of slots, in one frame
inline constexpr std::uint32_t kMaxBells = 64;     // of one peer: one for each of its reactors

/// The first frame, from both sides.
struct Hello {
  std::uint16_t lowest = kLowest;
  std::uint16_t highest = kHighest;
  std::uint64_t features = 0;  ///< none is known yet
  std::string hub;
  std::uint64_t instance = 0;     ///< a random number: one for each hub of each process
  std::int64_t clock_offset = 0;  ///< see msg::clock_offset()
};
/// From the hub with the smaller instance: of the connections between the two, this is the one.
struct Welcome {};
/// The connection ends, and why.
struct Goodbye {
  std::string reason;
  bool again = true;  ///< trying again makes sense
};
/// A publisher is there.
struct Publishes {
  std::uint64_t publisher = 0;
  std::string topic;
  std::uint64_t layout_hash = 0;
  std::string layout;  ///< described for a person
  bool link = false;
  std::string peer;
};
/// It has gone.
struct Gone {
  std::uint64_t publisher = 0;
};
/// Memory that links and messages are in. With one descriptor.
struct Memory {
  std::uint32_t chunk = 0;
  bool links = false;  ///< of links: both ends write
  std::uint64_t bytes = 0;
};
/// The sender of this has no addresses for memory that it was given, and is to be given it again when it needs it.
struct Unmapped {
  std::uint32_t chunk = 0;
};
/// Nothing more is in it.
struct Forget {
  std::uint32_t chunk = 0;
};
/// What wakes one of the sender's reactors: a socket that takes a byte. With one descriptor.
struct BellIs {
  std::uint32_t bell = 0;
};
/// A subscriber wants a publisher's messages.
struct Subscribe {
  std::uint64_t publisher = 0;
  std::uint64_t request = 0;  ///< grows with each
  std::uint32_t depth = 0;
  std::uint32_t max_held = 0;
  Overflow overflow = Overflow::drop_oldest;
  std::uint32_t bell = 0;
  bool stamps = false;  ///< it wants to know when each message was published
};
/// Where some of a publisher's slots are.
struct SlotRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t chunk = 0;
  std::uint64_t at = 0;
};
/// It is connected.
struct Connected {
  std::uint64_t request = 0;
  std::uint32_t word_chunk = 0;  ///< where the publisher's state is
  std::uint64_t word_at = 0;
  std::uint32_t slots = 0;  ///< that there may ever be
  std::uint32_t stride = 0;
  std::uint32_t link_chunk = 0;
  std::uint64_t link_at = 0;
  std::uint32_t depth = 0;
  std::uint32_t bell = 0;
};
/// It is not.
struct Refused {
  std::uint64_t request = 0;
  bool again = false;  ///< there may be room later
  std::string reason;
};
/// There are more slots.
struct Slots {
  std::uint64_t request = 0;
  std::vector<SlotRun> runs;
};
/// Is anybody there? And the answer.
struct Ping {
  std::uint64_t number = 0;
};
struct Pong {
  std::uint64_t number = 0;
};
/// A later version's.
struct Unknown {
  std::uint8_t kind = 0;
};

using Frame = std::variant<Hello, Welcome, Goodbye, Publishes, Gone, Memory, Forget, BellIs, Subscribe,
                           Connected, Refused, Ping, Pong, Slots, Unmapped, Unknown>;

struct Decoded {
  Frame frame;
  std::size_t descriptors = 0;  ///< that came with it
};

/// Descriptors that travel with a frame of that kind.
[[nodiscard]] constexpr std::size_t descriptors_of(const Frame& frame) noexcept {
  return std::holds_alternative<Memory>(frame) || std::holds_alternative<BellIs>(frame) ? 1 : 0;
}

/// The frame with its length in front.
[[nodiscard]] HORUS_API std::vector<std::byte> encode(const Frame& frame);
/// A frame without its length. Errors: kBadInput, which says what is wrong with it.
[[nodiscard]] HORUS_API Result<Decoded> decode(std::span<const std::byte> bytes);

}  // namespace horus::HORUS_ABI::msg::shm
