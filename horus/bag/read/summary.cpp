// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/read/summary.hpp>

#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/read/scan.hpp>
#include <horus/bag/read/window.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

const char* take_chunk_index(std::span<const std::byte> content, std::uint64_t end, Contents& contents) {
  ChunkIndex index;
  if (!decode(content, index)) return "an entry of the index that does not follow the format";
  if (index.offset > end || index.length > end - index.offset)
    return "the index names a chunk that is not in the file";
  if (contents.chunks.size() >= kMostChunks) return "more chunks than this library reads";
  contents.chunks.push_back(std::move(index));
  return nullptr;
}

// `end` is where the index begins: everything that it names lies before.
const char* take_record(const Record& record, std::uint64_t end, Contents& contents) {
  constexpr const char* kForm = "an entry of the index that does not follow the format";
  switch (record.opcode) {
    case Opcode::chunk_index: return take_chunk_index(record.content, end, contents);
    case Opcode::attachment_index: {
      AttachmentIndex index;
      if (!decode(record.content, index)) return kForm;
      if (index.offset > end || index.length > end - index.offset)
        return "the index names an attachment that is not in the file";
      if (contents.attachments.size() >= kMostAttachments) return "more attachments than this library reads";
      contents.attachments.push_back(std::move(index));
      return nullptr;
    }
    case Opcode::metadata_index: {
      MetadataIndex index;
      if (!decode(record.content, index)) return kForm;
      if (index.offset > end || index.length > end - index.offset)
        return "the index names metadata that is not in the file";
      if (contents.metadata.size() >= kMostAttachments)
        return "more metadata records than this library reads";
      contents.metadata.push_back(std::move(index));
      return nullptr;
    }
    case Opcode::statistics: return decode(record.content, contents.statistics) ? nullptr : kForm;
    default: return nullptr;
  }
}

}  // namespace

Task<Result<bool>> read_summary(Source& source, Contents& contents) {
  contents = {};
  contents.file_bytes = source.size();
  Window window(source);
  std::uint64_t header_end = 0;
  const auto header = co_await read_header(window, contents.header, header_end);
  if (!header) co_return header.error();
  const std::uint64_t size = source.size();
  if (size < header_end + kFileEnd) co_return false;
  const std::uint64_t footer_at = size - kFileEnd;
  const auto end = co_await window.at(footer_at, kFileEnd);
  if (!end) co_return end.error();
  if (std::memcmp(end->data() + kFileEnd - kMagic.size(), kMagic.data(), kMagic.size()) != 0)
    co_return false;  // a recorder that was killed, or still records
  Footer footer;
  Record record;
  std::size_t next = 0;
  if (!next_record(end->first(kFileEnd - kMagic.size()), next, record) || record.opcode != Opcode::footer ||
      !decode(record.content, footer)) {
    contents.note(footer_at, "the footer does not follow the format");
    co_return false;
  }
  if (footer.summary == 0) co_return false;
  if (footer.summary < header_end || footer.summary > footer_at ||
      footer_at - footer.summary > kMostSummary) {
    contents.note(footer_at, "the footer names a place of the index that cannot be");
    co_return false;
  }
  const auto length = static_cast<std::size_t>(footer_at - footer.summary);
  const auto all = co_await window.at(footer.summary, length + kRecordHead + 16);
  if (!all) co_return all.error();
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  if (footer.crc != 0 && crc32(*all) != footer.crc) {
    contents.note(footer.summary, "the checksum of the index differs");
    co_return false;
  }
#endif
  const auto summary = all->first(length);
  const char* problem = walk_chunk(summary, contents, [](const Message&, std::uint64_t) {});
  std::size_t at = 0;
  bool has_statistics = false;
  next = 0;
  while (problem == nullptr && next < summary.size()) {
    at = next;
    problem = next_record(summary, next, record) ? take_record(record, footer.summary, contents)
                                                 : "an entry of the index is longer than the index";
    has_statistics = has_statistics || record.opcode == Opcode::statistics;
  }
  if (problem != nullptr) {
    contents.note(footer.summary + at, problem);
    co_return false;
  }
  // An index that leaves something out is none: in the format everything here is optional.
  const bool complete = contents.chunks.empty() ? has_statistics && contents.statistics.messages == 0
                                                : !contents.channels.empty();
  contents.indexed = complete;
  contents.ended = true;
  co_return complete;
}

}  // namespace horus::HORUS_ABI::bag
