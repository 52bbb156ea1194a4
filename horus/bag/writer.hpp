// SPDX-License-Identifier: Apache-2.0
// Makes the bytes of a recording, a file in the MCAP format that Foxglove, PlotJuggler, Rerun and `ros2 bag` open. It does
// no I/O and reads no clock: whoever owns the file writes what it gives, one piece behind the other. One thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/records.hpp>
#include <horus/bag/write/chunk.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::bag {

/// How a recording is made.
struct WriterOptions {
  WriterOptions() {}

  std::string profile = "ros2";                 ///< what topics and types are named after; empty: nothing
  std::size_t chunk_bytes = kChunkBytes;        ///< a chunk is due when it has so many, at most kMostMessage
  std::uint64_t chunk_ns = 1'000'000'000;       ///< or when its first message is so old
  Compression compression = Compression::zstd;  ///< none or zstd
  int level = 1;                                ///< zstd's
  unsigned least_saving = 5;                    ///< percent; a chunk that would save less is stored plain
};

/// Makes the bytes of a recording.
///
/// Semantics: `begin()`, any number of `place()`, and `finish()` each give the bytes that follow in the file, at what
/// `position()` was before the call. They are valid until the next call that gives bytes, or as long as their chunk.
/// Messages are collected in an open chunk. When `due()` says so, `take()` it, `seal()` it (on any thread), and `place()` it;
/// chunks are placed in the order in which they were taken, or readers see messages in another order. Record messages in
/// the order of their log time.
/// Thread safety: one thread at a time; a chunk that was taken is independent of its Writer.
/// Source: https://mcap.dev/spec
/// Example:
/// ```
/// horus::bag::Writer writer;
/// const auto schema = writer.add_schema("Drive", "ros2msg", "float64 left\nfloat64 right").or_throw();
/// const auto channel = writer.add_channel("/drive", "cdr", schema).or_throw();
/// append(file, writer.begin());
/// writer.add({.channel = channel, .log_ns = now, .publish_ns = now, .data = cdr}).or_throw();
/// auto chunk = writer.take();
/// chunk.seal();
/// append(file, writer.place(chunk));
/// append(file, writer.finish());
/// ```
class HORUS_API Writer {
 public:
  explicit Writer(WriterOptions options = {});

  [[nodiscard]] const WriterOptions& options() const noexcept { return options_; }

  /// The id of a schema; the same one for the same contents. Errors: EINVAL (empty name), ENOBUFS (kMostTexts, or 65535
  /// schemas).
  Result<std::uint16_t> add_schema(std::string_view name, std::string_view encoding, std::string_view data);
  /// A channel of its own, whatever others of that topic there are. `schema` 0: none, which PlotJuggler skips.
  /// Errors: EINVAL (no topic, unknown schema), ENOBUFS (kMostTexts or kMostChannels).
  Result<std::uint16_t> add_channel(std::string_view topic, std::string_view encoding, std::uint16_t schema,
                                    const Properties& metadata = {});
  /// The same with ids of the caller's, for files whose chunks are copied; nothing is checked.
  void describe(const Schema& schema);
  void describe(const Channel& channel);
  /// A Writer of another file that has these schemas and channels, with the same ids.
  [[nodiscard]] Writer describing() const;
  /// The next bytes begin another file, which has the same schemas and channels. The open chunk goes there.
  void begin_further_file();
  /// Copies a message into the open chunk. Errors: EINVAL (unknown channel), EMSGSIZE (more than kMostMessage, or a chunk
  /// that was not taken although it is due).
  Result<> add(const Message& message);

  /// Whether the open chunk should be taken; `now_ns` on the clock of the log times.
  [[nodiscard]] bool due(std::uint64_t now_ns) const noexcept {
    return open_.size() >= options_.chunk_bytes ||
           (open_.messages() > 0 && now_ns >= opened_ns_ && now_ns - opened_ns_ >= options_.chunk_ns);
  }
  [[nodiscard]] const Chunk& open() const noexcept { return open_; }
  /// The open chunk, not sealed; `next` (one that was used, perhaps) takes its place.
  [[nodiscard]] Chunk take(Chunk next = {});

  /// The file's first bytes.
  [[nodiscard]] std::span<const std::byte> begin();
  /// A chunk's bytes; it must be sealed. At kMostChunks a further one is a mistake of the caller: see `full()`.
  [[nodiscard]] std::span<const std::byte> place(const Chunk& chunk);
  /// Errors: EMSGSIZE (more than kMostRecord), ENOBUFS (kMostAttachments).
  [[nodiscard]] Result<std::span<const std::byte>> place(const Attachment& attachment);
  [[nodiscard]] Result<std::span<const std::byte>> place(const Metadata& metadata);
  /// Takes back the chunk that was placed last, because it could not be written; nothing was placed since.
  void withdraw(const Chunk& chunk);
  /// Summary and end of the file. The open chunk must have been taken.
  [[nodiscard]] std::span<const std::byte> finish();
  /// The same where the open chunk goes into a further file: `begin_further_file()` follows.
  [[nodiscard]] std::span<const std::byte> finish_part();

  /// Bytes of the file so far.
  [[nodiscard]] std::uint64_t position() const noexcept { return position_; }
  /// No further chunk has room in the index.
  [[nodiscard]] bool full() const noexcept { return statistics_.chunks >= kMostChunks; }
  /// Of what was placed.
  [[nodiscard]] const Statistics& statistics() const noexcept { return statistics_; }

 private:
  std::span<const std::byte> give();

  WriterOptions options_;
  Chunk open_;
  std::uint64_t opened_ns_ = 0;
  bool further_ = false;
  std::uint64_t position_ = 0;
  Statistics statistics_;
  std::map<std::tuple<std::string, std::string, std::string>, std::uint16_t> known_schemas_;
  // The summary's records, as bytes.
  Buffer schemas_;
  Buffer channels_;
  Buffer chunk_indexes_;
  Buffer attachment_indexes_;
  Buffer metadata_indexes_;
  Buffer given_;
  // Before the last chunk.
  std::size_t last_index_ = 0;
  std::uint64_t last_first_ns_ = 0;
  std::uint64_t last_last_ns_ = 0;
};

}  // namespace horus::HORUS_ABI::bag
