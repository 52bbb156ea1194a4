// SPDX-License-Identifier: Apache-2.0
// A chunk on its way to the file: filled by a Writer, sealed on any thread, then placed by the Writer and written by whoever
// owns the file. One thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/records.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::bag {

/// Records of a file that are packed together.
///
/// Semantics: `Writer::take()` gives a filled one. `seal()` computes its checksum, packs it and makes its indexes: the work
/// that is worth another thread. Its bytes do not depend on their place in the file. A chunk without messages is stored as
/// its plain records. A used chunk keeps its memory and may be given back to `Writer::take`.
class HORUS_API Chunk {
 public:
  Chunk() = default;

  [[nodiscard]] std::uint64_t messages() const noexcept { return entries_.size(); }
  [[nodiscard]] std::uint64_t first_ns() const noexcept { return first_ns_; }
  [[nodiscard]] std::uint64_t last_ns() const noexcept { return last_ns_; }
  /// Of its records, unpacked.
  [[nodiscard]] std::size_t size() const noexcept { return end_ == 0 ? 0 : end_ - kGap; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  /// What it occupies.
  [[nodiscard]] std::size_t memory() const noexcept {
    return records_.capacity() + packed_.capacity() + entries_.capacity() * sizeof(Entry);
  }

  /// Stored plain where packing saves less than `least_saving` percent. Errors: std::bad_alloc.
  void seal(Compression compression = Compression::zstd, int level = 1, unsigned least_saving = 5);
  [[nodiscard]] bool sealed() const noexcept { return sealed_; }
  /// What is written into the file, once sealed.
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;
  /// Its index as if it lay at the file's beginning; the Writer moves it to its place.
  [[nodiscard]] const ChunkIndex& index() const noexcept { return index_; }
  /// How many messages each channel has, once sealed.
  [[nodiscard]] const std::vector<std::pair<std::uint16_t, std::uint64_t>>& counts() const noexcept {
    return counts_;
  }

  /// Gives back memory that a sealed chunk does not need.
  void shrink();
  /// Empty again; keeps its memory unless it is far more than usual.
  void clear() noexcept;

  // For the Writer and for tools that copy chunks.
  void add(const Message& message);
  void add_record(std::span<const std::byte> record);
  /// Notes a message at `offset` of the unpacked records.
  void note(std::uint16_t channel, std::uint64_t log_ns, std::uint64_t offset);
  /// Becomes sealed with bytes that were packed elsewhere; its messages were noted.
  void adopt(std::span<const std::byte> packed, std::string_view compression, std::uint64_t size,
             std::uint32_t crc);

 private:
  struct Entry {
    std::uint64_t log_ns;
    std::uint64_t offset;
    std::uint16_t channel;
  };
  static constexpr std::size_t kGap = 64;  // before the records: room for the head of the chunk's own record

  void begin();
  void finish(Buffer& buffer, std::string_view compression, std::uint64_t size, std::uint32_t crc);
  void append_indexes(Buffer& to, std::size_t start);

  Buffer records_;         // a gap, then records; plain chunks are written from here
  Buffer packed_;          // a gap, then packed records
  std::size_t end_ = 0;    // of the records in records_
  std::size_t start_ = 0;  // of what is written, in the buffer that is written
  bool sealed_ = false;
  bool is_packed_ = false;
  std::uint64_t first_ns_ = 0;
  std::uint64_t last_ns_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::pair<std::uint16_t, std::uint64_t>> counts_;
  ChunkIndex index_;
};

}  // namespace horus::HORUS_ABI::bag
