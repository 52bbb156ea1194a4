// SPDX-License-Identifier: Apache-2.0
// What two processes say to each other over the Unix socket through which they share memory. A frame is its length (u32,
// at most kMaxFrame), its kind (u8) and its fields. Pure functions; any thread.
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

namespace horus::msg::shm {

inline constexpr std::uint32_t kMagic = 0x4d535248;  // "HRSM"
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kMaxFrame = 4096;  // bytes behind the length
inline constexpr std::size_t kMaxName = 255;    // bytes of a topic's or hub's name
inline constexpr std::size_t kMaxText = 2048;   // bytes of a layout's description or a reason

/// The first frame, from both sides.
struct Hello {
  std::uint16_t version = kVersion;
  std::string hub;
  std::string instance;  ///< the name of the sender's socket: one for each hub of each process
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
/// A subscriber wants it. With one descriptor: an eventfd that wakes the subscriber.
struct Subscribe {
  std::uint64_t publisher = 0;
  std::uint64_t subscriber = 0;
  std::uint32_t depth = 0;
  std::uint32_t max_held = 0;
  Overflow overflow = Overflow::drop_oldest;
};
/// It is connected. With three descriptors: the publisher's slots, the link's memory, an eventfd that wakes the publisher.
struct Connected {
  std::uint64_t publisher = 0;
  std::uint64_t subscriber = 0;
  std::uint32_t slots = 0;
  std::uint32_t stride = 0;
  std::uint32_t depth = 0;
};
/// It is not.
struct Refused {
  std::uint64_t publisher = 0;
  std::uint64_t subscriber = 0;
  std::string reason;
};

using Frame = std::variant<Hello, Publishes, Gone, Subscribe, Connected, Refused>;

/// Descriptors that travel with a frame.
[[nodiscard]] constexpr std::size_t descriptors_of(const Frame& frame) noexcept {
  if (std::holds_alternative<Subscribe>(frame)) return 1;
  return std::holds_alternative<Connected>(frame) ? 3 : 0;
}

/// The frame with its length in front.
[[nodiscard]] HORUS_API std::vector<std::byte> encode(const Frame& frame);
/// A frame without its length. Errors: kBadInput, which says what is wrong with it.
[[nodiscard]] HORUS_API Result<Frame> decode(std::span<const std::byte> bytes);

}  // namespace horus::msg::shm
