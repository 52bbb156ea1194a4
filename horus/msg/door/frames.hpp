// SPDX-License-Identifier: Apache-2.0
// The frames between a door and its visitors: u32 length, u8 kind, and `length` bytes of payload. All numbers are little
// endian. Sans I/O; one thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::msg::door {

using FrameBytes = std::span<const std::byte>;

inline constexpr std::size_t kFrameHead = 5;
/// Of a request, and of an answer.
inline constexpr std::size_t kLongestText = std::size_t{1} << 20;
/// A tapped message that is longer is counted as missed.
inline constexpr std::size_t kLongestMessage = std::size_t{16} << 20;

enum class FrameKind : std::uint8_t {
  text = 1,  ///< one JSON object with an `id`
  data = 2,  ///< a tapped message: DataHead and its bytes
};

/// What stands in front of a tapped message.
struct DataHead {
  std::uint32_t subscription = 0;
  std::int64_t published_ns = 0;  ///< of the monotonic clock
  std::uint64_t sequence = 0;
};
inline constexpr std::size_t kDataHead = 20;

/// Appends one frame.
HORUS_API void append_text(std::vector<std::byte>& to, std::string_view text);
HORUS_API void append_data(std::vector<std::byte>& to, const DataHead& head, FrameBytes message);

struct Frame {
  FrameKind kind{};
  FrameBytes payload;
};
/// The head of a FrameKind::data and what follows it. Errors: kBadInput.
struct Data {
  DataHead head;
  FrameBytes message;
};
HORUS_API Result<Data> read_data(FrameBytes payload);

/// Makes frames of bytes as they come.
class HORUS_API FrameReader {
 public:
  /// Payloads of at most `most` bytes.
  explicit FrameReader(std::size_t most) noexcept : most_(most) {}

  void append(FrameBytes bytes);
  /// The next whole frame of a kind that is known; its payload can be read until the next call. Others are skipped.
  /// Errors: kBadInput for a frame that is too long; nothing follows after that.
  Result<std::optional<Frame>> next();
  /// A frame has begun and is not complete.
  [[nodiscard]] bool in_frame() const noexcept { return bytes_.size() > taken_; }
  /// Frames that were taken out, skipped ones too.
  [[nodiscard]] std::uint64_t frames() const noexcept { return frames_; }

 private:
  std::size_t most_;
  std::vector<std::byte> bytes_;
  std::size_t taken_ = 0;
  std::uint64_t frames_ = 0;
};

}  // namespace horus::HORUS_ABI::msg::door
