// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <ranges>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/edit.hpp>
#include <horus/bag/edit/distinct.hpp>
#include <horus/bag/file_writer.hpp>
#include <horus/bag/format/codec.hpp>
#include <horus/bag/read/scan.hpp>
#include <horus/bag/read/summary.hpp>
#include <horus/bag/write/end.hpp>
#include <horus/io/file.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

// What the writer does not know yet. Its ids are those of the file, because chunks are copied as they are.
class Describer {
 public:
  void operator()(Writer& writer, const Contents& contents) {
    if (contents.schemas.size() + contents.channels.size() == schemas_.size() + channels_.size()) return;
    for (const auto& [id, schema] : contents.schemas) {
      if (schemas_.insert(id).second) writer.describe(schema);
    }
    for (const auto& [id, channel] : contents.channels) {
      if (channels_.insert(id).second) writer.describe(channel);
    }
  }

 private:
  std::set<std::uint16_t> schemas_;
  std::set<std::uint16_t> channels_;
};

// A chunk as it was, with its messages noted.
void adopt(Chunk& chunk, const Passing& passing, Contents& contents) {
  chunk.clear();
  static_cast<void>(walk_chunk(passing.records, contents, [&](const Message& message, std::uint64_t offset) {
    chunk.note(message.channel, message.log_ns, offset);
  }));
  if (passing.raw != nullptr && passing.raw->head.compression.size() <= 4) {
    const ChunkHead& head = passing.raw->head;
    chunk.adopt(passing.raw->packed, head.compression, head.bytes,
                head.crc != 0 ? head.crc : crc32(passing.records));
  } else {
    chunk.adopt(passing.records, "", passing.records.size(), crc32(passing.records));
  }
}

Recovery recovery_of(const Contents& contents) {
  Recovery recovery;
  recovery.messages = contents.statistics.messages;
  recovery.chunks = contents.chunks.size();
  recovery.damages = contents.damages;
  recovery.more_damages = contents.more_damages;
  if (!contents.ended) recovery.dropped_bytes = contents.file_bytes - contents.whole_end;
  return recovery;
}

template <class Records>
Buffer encoded(const Records& records) {
  Buffer out;
  for (const auto& record : records) encode(out, record);
  return out;
}

void append_end(Buffer& out, std::uint64_t position, const Contents& contents) {
  const Buffer schemas = encoded(contents.schemas | std::views::values);
  const Buffer channels = encoded(contents.channels | std::views::values);
  const Buffer chunks = encoded(contents.chunks);
  const Buffer attachments = encoded(contents.attachments);
  const Buffer metadata = encoded(contents.metadata);
  encode_end(out, position,
             Summary{schemas.bytes(), channels.bytes(), chunks.bytes(), attachments.bytes(), metadata.bytes(),
                     contents.statistics});
}

Task<Result<Recovery>> copy_whole(Source& source, FileWriter& out, Contents& contents,
                                  const Contents* summary) {
  Chunk chunk;
  Describer describe;
  const OnPassing on_passing = [&](const Passing& passing) -> Task<Result<>> {
    if (passing.attachment != nullptr) co_return co_await out.add(*passing.attachment);
    if (passing.metadata != nullptr) co_return co_await out.add(*passing.metadata);
    describe(out.writer(), contents);
    adopt(chunk, passing, contents);
    co_return co_await out.add(chunk);
  };
  const auto scanned = co_await scan(source, contents, on_passing, summary);
  if (!scanned) co_return scanned.error();
  describe(out.writer(), contents);
  const auto finished = co_await out.finish();
  if (!finished) co_return finished.error();
  co_return recovery_of(contents);
}

}  // namespace

Task<Result<Recovery>> recover(std::string path, std::string to, bool overwrite) {
  auto source = co_await open_file(path);
  if (!source) co_return source.error();
  Contents contents;
  const auto indexed = co_await read_summary(**source, contents);  // is it a recording at all?
  if (!indexed) co_return indexed.error();
  const bool has_index = *indexed;
  WriterOptions options;
  options.profile = contents.header.profile;
  const auto distinct = co_await check_distinct(path, to);
  if (!distinct) co_return distinct.error();
  auto out = co_await FileWriter::create(to, options, overwrite);
  if (!out) co_return out.error();
  const Contents summary = contents;
  auto copied = co_await copy_whole(**source, *out, contents, has_index ? &summary : nullptr);
  if (!copied) {
    co_await out->discard();
    co_return copied.error();
  }
  copied->was_whole = has_index && copied->damages.empty() && contents.ended;
  co_return copied;
}

Task<Result<Recovery>> recover_in_place(std::string path) {
  auto source = co_await open_file(path);
  if (!source) co_return source.error();
  Contents contents;
  const auto indexed = co_await read_summary(**source, contents);
  if (!indexed) co_return indexed.error();
  const bool has_index = *indexed;

  Chunk last;  // the last chunk, whose indexes may be torn
  std::uint64_t last_offset = 0;
  const char* problem = nullptr;
  const OnPassing on_passing = [&](const Passing& passing) -> Task<Result<>> {
    if (passing.chunk == nullptr) co_return Result<>();
    if (passing.raw == nullptr) {
      problem = "messages lie outside of chunks";
      co_return Result<>();
    }
    last_offset = passing.chunk->offset;
    adopt(last, passing, contents);
    co_return Result<>();
  };
  const auto scanned = co_await scan(**source, contents, on_passing);
  if (!scanned) co_return scanned.error();
  Recovery recovery = recovery_of(contents);
  recovery.was_whole = has_index && contents.damages.empty() && contents.ended;
  if (recovery.was_whole) co_return recovery;
  // A torn end is one damage, where the whole records end.
  const bool torn_only = contents.damages.empty() ||
                         (contents.damages.size() == 1 && contents.damages[0].offset >= contents.whole_end);
  if (problem == nullptr && !torn_only) problem = "something in its middle is damaged";
  if (problem != nullptr) {
    const std::string why = fmt::format("({}: recover it into another file)", problem);
    co_return Error(EINVAL, "recover in place", path).with_detail(why);
  }

  std::uint64_t end = contents.whole_end;
  Buffer tail;
  for (auto& chunk : contents.chunks) {
    const bool complete =
        std::ranges::all_of(chunk.message_indexes, [](const auto& place) { return place.offset != 0; });
    if (complete) continue;
    const auto follows = [&](const auto& index) { return index.offset > chunk.offset; };
    if (chunk.offset != last_offset || std::ranges::any_of(contents.attachments, follows) ||
        std::ranges::any_of(contents.metadata, follows)) {
      co_return Error(EINVAL, "recover in place", path)
          .with_detail("(chunks without message indexes: recover it into another file)");
    }
    // The indexes of the last chunk are written again.
    end = chunk.offset + chunk.length;
    const auto whole = last.bytes();
    const auto& index = last.index();
    tail.append(whole.data() + index.length, whole.size() - static_cast<std::size_t>(index.length));
    for (std::size_t i = 0; i < chunk.message_indexes.size(); ++i)
      chunk.message_indexes[i].offset = index.message_indexes[i].offset + end - index.length;
    chunk.message_index_length = index.message_index_length;
  }
  append_end(tail, end + tail.size(), contents);

  source->reset();
  io::OpenOptions how;
  how.write().read();
  auto file = co_await io::File::open(path, how);
  if (!file) co_return file.error();
  const auto cut = co_await file->truncate(end);
  if (!cut) co_return cut.error();
  const auto written = co_await file->write_all_at(tail.bytes(), end);
  if (!written) co_return written.error();
  const auto synced = co_await file->sync();
  if (!synced) co_return synced.error();
  const auto closed = co_await file->close();
  if (!closed) co_return closed.error();
  recovery.dropped_bytes = contents.ended ? 0 : contents.file_bytes - end;
  co_return recovery;
}

}  // namespace horus::HORUS_ABI::bag
