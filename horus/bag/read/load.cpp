// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/read/load.hpp>

#include <horus/bag/format/compression.hpp>

namespace horus::HORUS_ABI::bag {

const char* split_chunk(std::span<const std::byte> content, RawChunk& chunk) {
  std::size_t size = 0;
  if (!decode(content, chunk.head, size)) return "a chunk whose head is cut";
  if (chunk.head.bytes > kMostRecord) return "a chunk that says it unpacks to more than 512 MiB";
  if (chunk.head.compressed_bytes > content.size() - size)
    return "a chunk that says it is longer than its record";
  chunk.packed = content.subspan(size, static_cast<std::size_t>(chunk.head.compressed_bytes));
  return nullptr;
}

const char* unpack_chunk(const RawChunk& chunk, Buffer& out) {
  out.clear();
  if (const char* problem = check_size(chunk.head.compression, chunk.packed, chunk.head.bytes);
      problem != nullptr)
    return problem;
  const auto size = static_cast<std::size_t>(chunk.head.bytes);
  std::byte* place = out.extend(size);
  if (const char* problem = unpack(chunk.head.compression, chunk.packed, {place, size}); problem != nullptr) {
    out.clear();
    return problem;
  }
#ifndef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  if (chunk.head.crc != 0 && crc32(out.bytes()) != chunk.head.crc) {
    out.clear();
    return "the checksum of a chunk differs";
  }
#endif
  return nullptr;
}

Task<Result<>> load(Window& window, const ChunkIndex& index, Buffer& out) {
  const std::string& name = window.source().name();
  const std::uint64_t size = window.source().size();
  if (index.length > kMostRecord + kRecordHead + kMostChunkHead || index.offset > size ||
      index.length > size - index.offset)
    co_return bad_record(name, index.offset, "the index names a chunk that is not in the file");
  const auto read = co_await window.at(index.offset, static_cast<std::size_t>(index.length));
  if (!read) co_return read.error();
  if (index.bare) {
    out.clear();
    out.append(read->data(), read->size());
    co_return Result<>();
  }
  std::size_t end = 0;
  Record record;
  if (!next_record(*read, end, record) || record.opcode != Opcode::chunk || end != read->size())
    co_return bad_record(name, index.offset, "the index names a chunk where there is none");
  RawChunk raw;
  const char* problem = split_chunk(record.content, raw);
  if (problem == nullptr) problem = unpack_chunk(raw, out);
  if (problem != nullptr) co_return bad_record(name, index.offset, problem);
  co_return Result<>();
}

}  // namespace horus::HORUS_ABI::bag
