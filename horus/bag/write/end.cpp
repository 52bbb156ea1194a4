// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/write/end.hpp>

#include <horus/bag/format/codec.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

// Adds a group and says where it is.
void add_group(Buffer& groups, Buffer& offsets, std::uint64_t start, Opcode opcode,
               std::span<const std::byte> records) {
  if (records.empty()) return;
  Encoder to(offsets);
  const auto place = to.begin(Opcode::summary_offset);
  to.number(static_cast<std::uint8_t>(opcode));
  to.number(start + groups.size()).number(std::uint64_t{records.size()});
  to.end(place);
  groups.append(records.data(), records.size());
}

}  // namespace

void encode_end(Buffer& out, std::uint64_t position, const Summary& summary) {
  const std::size_t begin = out.size();
  Encoder to(out);
  const auto data_end = to.begin(Opcode::data_end);
  to.number(std::uint32_t{0});  // chunks and attachments have checksums of their own
  to.end(data_end);

  const std::size_t summary_at = out.size();
  const std::uint64_t start = position + (summary_at - begin);
  Buffer groups;
  Buffer offsets;
  Buffer statistics;
  encode(statistics, summary.statistics);
  add_group(groups, offsets, start, Opcode::schema, summary.schemas);
  add_group(groups, offsets, start, Opcode::channel, summary.channels);
  add_group(groups, offsets, start, Opcode::statistics, statistics.bytes());
  add_group(groups, offsets, start, Opcode::chunk_index, summary.chunk_indexes);
  add_group(groups, offsets, start, Opcode::attachment_index, summary.attachment_indexes);
  add_group(groups, offsets, start, Opcode::metadata_index, summary.metadata_indexes);
  const std::uint64_t offsets_at = start + groups.size();
  to.bytes(groups.bytes()).bytes(offsets.bytes());

  // The checksum covers the footer itself, up to the checksum.
  const auto footer = to.begin(Opcode::footer);
  to.number(start).number(offsets_at).number(std::uint32_t{0});
  to.end(footer);
  out.shorten(out.size() - sizeof(std::uint32_t));
  const std::uint32_t crc = crc32(out.bytes().subspan(summary_at));
  to.number(crc).bytes(std::as_bytes(std::span(kMagic)));
}

}  // namespace horus::HORUS_ABI::bag
