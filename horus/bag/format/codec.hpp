// SPDX-License-Identifier: Apache-2.0
// The records of an MCAP file as bytes. Everything is little-endian; a text is its length (u32) and its bytes; a map is its
// length in bytes and then keys and values. Nothing here trusts the bytes that it reads. Internal; any thread.
//
// Source: https://mcap.dev/spec
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/records.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::bag {

static_assert(std::endian::native == std::endian::little, "records are copied, not assembled byte by byte");

enum class Opcode : std::uint8_t {
  header = 0x01,
  footer = 0x02,
  schema = 0x03,
  channel = 0x04,
  message = 0x05,
  chunk = 0x06,
  message_index = 0x07,
  chunk_index = 0x08,
  attachment = 0x09,
  attachment_index = 0x0A,
  statistics = 0x0B,
  metadata = 0x0C,
  metadata_index = 0x0D,
  summary_offset = 0x0E,
  data_end = 0x0F,
};

inline constexpr std::array<unsigned char, 8> kMagic = {0x89, 'M', 'C', 'A', 'P', '0', '\r', '\n'};
inline constexpr std::size_t kRecordHead = 9;               ///< opcode and length
inline constexpr std::size_t kMessageHead = 2 + 4 + 8 + 8;  ///< before a message's data
inline constexpr std::size_t kFooterContent = 8 + 8 + 4;
inline constexpr std::size_t kFileEnd = kRecordHead + kFooterContent + kMagic.size();
inline constexpr std::size_t kIndexEntry = 16;  ///< of a message: log time and offset
/// A chunk's content before its compressed bytes, without the name of the compression.
inline constexpr std::size_t kChunkHead = 8 + 8 + 8 + 4 + 4 + 8;
inline constexpr std::size_t kMostChunkHead = kChunkHead + 16;  ///< with it

/// CRC-32 as zlib has it; `before` continues one.
[[nodiscard]] std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before = 0) noexcept;

/// Appends to a buffer.
class Encoder {
 public:
  explicit Encoder(Buffer& out) noexcept : out_(out) {}

  template <std::unsigned_integral T>
  Encoder& number(T value) {
    std::memcpy(out_.extend(sizeof value), &value, sizeof value);
    return *this;
  }
  Encoder& bytes(std::span<const std::byte> value) {
    out_.append(value.data(), value.size());
    return *this;
  }
  Encoder& text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    out_.append(value.data(), value.size());
    return *this;
  }
  Encoder& properties(const Properties& values);
  Encoder& counts(const std::map<std::uint16_t, std::uint64_t>& values);
  /// Begins a record; `end` fills in its length.
  std::size_t begin(Opcode opcode) {
    const std::size_t place = out_.size();
    number(static_cast<std::uint8_t>(opcode)).number(std::uint64_t{0});
    return place;
  }
  void end(std::size_t place) {
    const std::uint64_t length = out_.size() - place - kRecordHead;
    std::memcpy(out_.data() + place + 1, &length, sizeof length);
  }

 private:
  Buffer& out_;
};

// Whole records.
void encode(Buffer& out, const Header& header);
void encode(Buffer& out, const Schema& schema);
void encode(Buffer& out, const Channel& channel);
void encode(Buffer& out, const Message& message);
void encode(Buffer& out, const Attachment& attachment);
void encode(Buffer& out, const Metadata& metadata);
void encode(Buffer& out, const ChunkIndex& index);
void encode(Buffer& out, const AttachmentIndex& index);
void encode(Buffer& out, const MetadataIndex& index);
void encode(Buffer& out, const Statistics& statistics);

/// A chunk's record up to its compressed bytes, which follow.
struct ChunkHead {
  std::uint64_t first_ns = 0;
  std::uint64_t last_ns = 0;
  std::uint64_t bytes = 0;  ///< unpacked
  std::uint32_t crc = 0;    ///< of the unpacked bytes; 0: none
  std::string_view compression = {};
  std::uint64_t compressed_bytes = 0;
};
void encode(Buffer& out, const ChunkHead& head);

/// Where the summary is.
struct Footer {
  std::uint64_t summary = 0;  ///< 0: there is none
  std::uint64_t summary_offsets = 0;
  std::uint32_t crc = 0;
};

/// Takes values from bytes. After the first one that is not there, everything is empty and `ok` false.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] bool at_end() const noexcept { return rest_.empty(); }
  [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
  template <std::unsigned_integral T>
  T number() noexcept {
    T value = 0;
    const auto from = take(sizeof value);
    if (!from.empty()) std::memcpy(&value, from.data(), sizeof value);
    return value;
  }
  std::span<const std::byte> take(std::uint64_t count) noexcept {
    if (count > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto taken = rest_.first(static_cast<std::size_t>(count));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string_view text() noexcept {
    const auto taken = take(number<std::uint32_t>());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  Properties properties();

 private:
  std::span<const std::byte> rest_;
  bool ok_ = true;
};

// Contents of records. False: they do not follow the format.
[[nodiscard]] bool decode(std::span<const std::byte> content, Header& header);
[[nodiscard]] bool decode(std::span<const std::byte> content, Footer& footer);
[[nodiscard]] bool decode(std::span<const std::byte> content, Schema& schema);
[[nodiscard]] bool decode(std::span<const std::byte> content, Channel& channel);
[[nodiscard]] bool decode(std::span<const std::byte> content, Message& message);
[[nodiscard]] bool decode(std::span<const std::byte> content, Attachment& attachment);  ///< its CRC too
[[nodiscard]] bool decode(std::span<const std::byte> content, Metadata& metadata);
[[nodiscard]] bool decode(std::span<const std::byte> content, ChunkIndex& index);
[[nodiscard]] bool decode(std::span<const std::byte> content, AttachmentIndex& index);
[[nodiscard]] bool decode(std::span<const std::byte> content, MetadataIndex& index);
[[nodiscard]] bool decode(std::span<const std::byte> content, Statistics& statistics);
/// The first bytes of a chunk's content; `size` is where its compressed bytes begin.
[[nodiscard]] bool decode(std::span<const std::byte> start, ChunkHead& head, std::size_t& size);

/// One record in the midst of others.
struct Record {
  Opcode opcode{};
  std::span<const std::byte> content = {};
};
/// The record at `offset`; `offset` is behind it then. False: none is whole there.
[[nodiscard]] bool next_record(std::span<const std::byte> bytes, std::size_t& offset,
                               Record& record) noexcept;

/// `read FILE at byte N: bad input: REASON`
[[nodiscard]] Error bad_record(std::string_view file, std::uint64_t offset, std::string_view reason);

}  // namespace horus::HORUS_ABI::bag
