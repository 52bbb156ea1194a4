// SPDX-License-Identifier: Apache-2.0
// Reads recordings in the MCAP format, also ones whose recorder was killed. One reactor's thread; what a Reader gives belongs
// to it.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include <horus/bag/contents.hpp>
#include <horus/bag/records.hpp>
#include <horus/bag/source.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// Default of ReaderOptions::memory_bytes.
inline constexpr std::size_t kReaderMemory = std::size_t{256} << 20;

struct ReaderOptions {
  ReaderOptions() {}

  /// Scan the whole file although it has an index.
  bool ignore_index = false;
  /// For unpacked chunks. One chunk is always kept, however large (kMostRecord).
  std::size_t memory_bytes = kReaderMemory;
};

/// Which messages `Reader::next` gives.
struct Selection {
  Selection() {}

  /// Asked once per channel; empty: all.
  std::function<bool(const Channel&)> channel;
  std::uint64_t first_ns = 0;                                         ///< least log time
  std::uint64_t last_ns = std::numeric_limits<std::uint64_t>::max();  ///< largest log time
};

/// Gives the messages of a recording in the order of their log time, and equal times in the order of the file.
///
/// Semantics: `open` reads the file's index. Where there is none, or a damaged one, it scans the file, and finds everything
/// that is whole: `contents()` says so. Chunks that hold nothing of the selection are not read.
/// Errors: kBadInput names the file, the offset and the reason. After one, `next()` goes on behind the damaged chunk.
/// Lengths in the file are not trusted: nothing larger than the limits in records.hpp is ever allocated.
/// Thread safety: the thread of the reactor on which it was opened.
/// Example:
/// ```
/// auto bag = (co_await horus::bag::Reader::open("run.mcap")).or_throw();
/// while (true) {
///   auto message = co_await bag.next();
///   if (!message) break;  // kEndOfStream
///   use(bag.contents().channels.at(message->channel).topic, message->data);
/// }
/// ```
class HORUS_API Reader {
 public:
  [[nodiscard]] static Task<Result<Reader>> open(std::string path, ReaderOptions options);
  [[nodiscard]] static Task<Result<Reader>> open(std::string path) {
    return open(std::move(path), ReaderOptions());
  }
  [[nodiscard]] static Task<Result<Reader>> open(std::unique_ptr<Source> source, ReaderOptions options);

  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;
  ~Reader();

  [[nodiscard]] const Contents& contents() const noexcept;
  [[nodiscard]] const std::string& name() const noexcept;

  /// Begins anew, with these messages only.
  void select(Selection selection);
  /// The next message; its data is valid until the next call. kEndOfStream after the last one; ENOBUFS when so many chunks
  /// overlap in time that their indexes need more than `memory_bytes`.
  [[nodiscard]] Task<Result<Message>> next();

  [[nodiscard]] Task<Result<Attachment>> attachment(AttachmentIndex where);
  [[nodiscard]] Task<Result<Metadata>> metadata(MetadataIndex where);

 private:
  struct State;
  explicit Reader(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace horus::HORUS_ABI::bag
