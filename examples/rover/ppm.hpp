// SPDX-License-Identifier: Apache-2.0
// Pictures from a byte stream: binary PPM (P6), one after another, as `ffmpeg -f image2pipe -c:v ppm` and
// rover_camera write them (https://netpbm.sourceforge.net/doc/ppm.html).
// Plain values without threads or I/O; the camera node owns a reader.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rover {

/// Why a stream is not, or no longer, a row of P6 pictures.
enum class PpmError : uint8_t {
  kNone,
  kBadMagic,   // a picture does not begin with "P6"
  kBadHeader,  // width, height or depth is not a number, or zero
  kTooLong,    // the header does not end within kMaxHeader bytes
  kTooLarge,   // more pixels than the reader was told to accept
  kBadDepth,   // a largest sample value above 65535
};

inline std::string_view describe(PpmError error) noexcept {
  switch (error) {
    case PpmError::kNone: return "no error";
    case PpmError::kBadMagic: return "not a binary PPM picture (P6)";
    case PpmError::kBadHeader: return "width, height or depth is not a number above zero";
    case PpmError::kTooLong: return "header does not end";
    case PpmError::kTooLarge: return "picture larger than accepted";
    case PpmError::kBadDepth: return "largest sample value above 65535";
  }
  return "unknown";
}

struct PpmHeader {
  uint32_t width = 0;
  uint32_t height = 0;
  uint32_t largest_sample = 0;  // above 255, a sample has two bytes, the high one first

  /// Bytes of pixels that follow the header: red, green, blue, row by row from the top.
  size_t pixel_bytes() const noexcept { return size_t{width} * height * 3 * (largest_sample > 255 ? 2 : 1); }
};

/// Reads one picture's header, byte by byte. Neither throws nor allocates.
class PpmHeaderParser {
 public:
  static constexpr size_t kMaxHeader = 512;

  /// Pictures of more than `most_pixels` are refused.
  explicit PpmHeaderParser(uint64_t most_pixels) noexcept : most_pixels_(most_pixels) {}

  /// Takes bytes up to the header's end or an error; returns how many of them it took.
  size_t feed(std::span<const uint8_t> bytes) noexcept {
    size_t taken = 0;
    while (taken < bytes.size() && !done() && error_ == PpmError::kNone) take(bytes[taken++]);
    return taken;
  }

  bool done() const noexcept { return field_ == kFields; }
  PpmError error() const noexcept { return error_; }
  /// Valid once done().
  const PpmHeader& header() const noexcept { return header_; }
  /// True before the first byte: where a stream may end.
  bool at_start() const noexcept { return size_ == 0; }
  void restart() noexcept { *this = PpmHeaderParser(most_pixels_); }

 private:
  static constexpr int kFields = 3;
  static constexpr uint32_t kMostNumber = 1'000'000;

  static bool is_white(uint8_t byte) noexcept { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

  void take(uint8_t byte) noexcept {
    if (++size_ > kMaxHeader) {
      error_ = PpmError::kTooLong;
    } else if (size_ <= 2) {
      if (byte != (size_ == 1 ? 'P' : '6')) error_ = PpmError::kBadMagic;
    } else if (in_comment_ ? byte == '\n' || byte == '\r' : is_white(byte)) {
      in_comment_ = false;  // a comment counts as the white space at its end, as in Netpbm's own reader
      white_ = true;
      if (digits_ > 0) end_number();
    } else if (in_comment_ || byte == '#') {
      in_comment_ = true;
    } else if (byte >= '0' && byte <= '9' && white_) {
      ++digits_;
      number_ = number_ * 10 + (byte - '0');
      if (number_ > kMostNumber) error_ = field_ == 2 ? PpmError::kBadDepth : PpmError::kTooLarge;
    } else {
      error_ = PpmError::kBadHeader;
    }
  }

  void end_number() noexcept {
    if (number_ == 0) {
      error_ = PpmError::kBadHeader;
      return;
    }
    (field_ == 0 ? header_.width : field_ == 1 ? header_.height : header_.largest_sample) = number_;
    ++field_;
    if (field_ == 2 && uint64_t{header_.width} * header_.height > most_pixels_) error_ = PpmError::kTooLarge;
    if (field_ == 3 && number_ > 65535) error_ = PpmError::kBadDepth;
    number_ = 0;
    digits_ = 0;
  }

  uint64_t most_pixels_;
  PpmHeader header_;
  size_t size_ = 0;
  uint32_t number_ = 0;
  int digits_ = 0;
  int field_ = 0;
  bool white_ = false;
  bool in_comment_ = false;
  PpmError error_ = PpmError::kNone;
};

/// Cuts a byte stream into whole pictures. Its buffer grows to one picture and is used again for the next.
class PpmReader {
 public:
  explicit PpmReader(uint64_t most_pixels = uint64_t{4096} * 4096) noexcept : parser_(most_pixels) {}

  /// Calls `on_picture(const PpmHeader&, std::span<const uint8_t> pixels)` for each picture that `bytes` completes.
  /// After an error the stream has no known picture border any more: every later call gives the same error.
  template <class OnPicture>
  PpmError feed(std::span<const uint8_t> bytes, OnPicture&& on_picture) {
    while (!bytes.empty() && parser_.error() == PpmError::kNone) {
      if (!parser_.done()) {
        bytes = bytes.subspan(parser_.feed(bytes));
        continue;
      }
      const size_t wanted = parser_.header().pixel_bytes();
      const size_t part = std::min(wanted - pixels_.size(), bytes.size());
      if (pixels_.empty()) pixels_.reserve(wanted);
      pixels_.insert(pixels_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(part));
      bytes = bytes.subspan(part);
      if (pixels_.size() < wanted) break;
      on_picture(parser_.header(), std::span<const uint8_t>(pixels_));
      pixels_.clear();
      parser_.restart();
    }
    return parser_.error();
  }

  /// True between two pictures: where a stream may end.
  bool at_border() const noexcept { return parser_.at_start(); }

 private:
  PpmHeaderParser parser_;
  std::vector<uint8_t> pixels_;
};

}  // namespace rover
