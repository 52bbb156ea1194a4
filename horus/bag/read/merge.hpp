// SPDX-License-Identifier: Apache-2.0
// Messages of chunks that overlap in time, in the order of their log time. Internal; the reader's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <horus/bag/contents.hpp>
#include <horus/bag/format/buffer.hpp>
#include <horus/bag/read/window.hpp>
#include <horus/bag/reader.hpp>

namespace horus::HORUS_ABI::bag {

/// Loads chunks when the time has come to them. Unpacked bytes beyond the limit are dropped, and unpacked again when they are
/// needed: chunks that overlap a lot are slow to read, and never large.
class Merge {
 public:
  Merge(Source& source, Contents& contents, std::size_t memory_bytes)
      : window_(source), contents_(contents), memory_bytes_(memory_bytes) {}

  void begin(const Selection& selection);
  Task<Result<Message>> next();

 private:
  struct Entry {
    std::uint64_t log_ns;
    std::uint64_t offset;  // in the chunk's records
  };
  struct Cursor {
    std::size_t chunk = 0;  // in contents_.chunks
    std::size_t next = 0;   // in entries
    std::vector<Entry> entries = {};
    Buffer records = {};  // empty: dropped
    [[nodiscard]] std::uint64_t log_ns() const noexcept { return entries[next].log_ns; }
  };

  [[nodiscard]] bool is_wanted(const ChunkIndex& chunk) const;
  [[nodiscard]] bool later(const Cursor& one, const Cursor& other) const noexcept;
  void insert(std::unique_ptr<Cursor> cursor);
  Task<Result<>> enter(std::size_t chunk);
  void drop_some();

  Window window_;
  Contents& contents_;
  std::size_t memory_bytes_;
  std::uint64_t first_ns_ = 0;
  std::uint64_t last_ns_ = 0;
  std::vector<bool> channels_;                    // which are wanted, by id
  std::vector<std::size_t> order_;                // chunks by time
  std::size_t coming_ = 0;                        // in order_
  std::vector<std::unique_ptr<Cursor>> cursors_;  // a heap, the earliest on top
  std::unique_ptr<Cursor> current_;               // whose message was given last
  std::size_t entry_bytes_ = 0;
};

}  // namespace horus::HORUS_ABI::bag
