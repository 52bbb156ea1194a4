// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/format/codec.hpp>

#include <zlib.h>

#include <fmt/format.h>

namespace horus::HORUS_ABI::bag {

std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t before) noexcept {
  return static_cast<std::uint32_t>(
      ::crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

Encoder& Encoder::properties(const Properties& values) {
  std::uint32_t size = 0;
  for (const auto& [key, value] : values) size += static_cast<std::uint32_t>(8 + key.size() + value.size());
  number(size);
  for (const auto& [key, value] : values) text(key).text(value);
  return *this;
}

Encoder& Encoder::counts(const std::map<std::uint16_t, std::uint64_t>& values) {
  number(static_cast<std::uint32_t>(values.size() * 10));
  for (const auto& [key, value] : values) number(key).number(value);
  return *this;
}

void encode(Buffer& out, const Header& header) {
  Encoder to(out);
  const auto place = to.begin(Opcode::header);
  to.text(header.profile).text(header.library);
  to.end(place);
}

void encode(Buffer& out, const Schema& schema) {
  Encoder to(out);
  const auto place = to.begin(Opcode::schema);
  to.number(schema.id).text(schema.name).text(schema.encoding).text(schema.data);
  to.end(place);
}

void encode(Buffer& out, const Channel& channel) {
  Encoder to(out);
  const auto place = to.begin(Opcode::channel);
  to.number(channel.id).number(channel.schema).text(channel.topic).text(channel.encoding);
  to.properties(channel.metadata);
  to.end(place);
}

void encode(Buffer& out, const Message& message) {
  std::byte* at = out.extend(kRecordHead + kMessageHead + message.data.size());
  const auto put = [&at](const auto value) {
    std::memcpy(at, &value, sizeof value);
    at += sizeof value;
  };
  put(Opcode::message);
  put(std::uint64_t{kMessageHead + message.data.size()});
  put(message.channel);
  put(message.sequence);
  put(message.log_ns);
  put(message.publish_ns);
  if (!message.data.empty()) std::memcpy(at, message.data.data(), message.data.size());
}

void encode(Buffer& out, const Attachment& attachment) {
  Encoder to(out);
  const auto place = to.begin(Opcode::attachment);
  to.number(attachment.log_ns)
      .number(attachment.created_ns)
      .text(attachment.name)
      .text(attachment.media_type);
  to.number(std::uint64_t{attachment.data.size()}).bytes(std::as_bytes(std::span(attachment.data)));
  to.number(crc32(out.bytes().subspan(place + kRecordHead)));
  to.end(place);
}

void encode(Buffer& out, const Metadata& metadata) {
  Encoder to(out);
  const auto place = to.begin(Opcode::metadata);
  to.text(metadata.name).properties(metadata.values);
  to.end(place);
}

void encode(Buffer& out, const ChunkIndex& index) {
  Encoder to(out);
  const auto begin = to.begin(Opcode::chunk_index);
  to.number(index.first_ns).number(index.last_ns).number(index.offset).number(index.length);
  to.number(static_cast<std::uint32_t>(index.message_indexes.size() * 10));
  for (const auto& place : index.message_indexes) to.number(place.channel).number(place.offset);
  to.number(index.message_index_length);
  to.text(index.compression).number(index.compressed_bytes).number(index.bytes);
  to.end(begin);
}

void encode(Buffer& out, const AttachmentIndex& index) {
  Encoder to(out);
  const auto place = to.begin(Opcode::attachment_index);
  to.number(index.offset).number(index.length).number(index.log_ns).number(index.created_ns);
  to.number(index.data_bytes).text(index.name).text(index.media_type);
  to.end(place);
}

void encode(Buffer& out, const MetadataIndex& index) {
  Encoder to(out);
  const auto place = to.begin(Opcode::metadata_index);
  to.number(index.offset).number(index.length).text(index.name);
  to.end(place);
}

void encode(Buffer& out, const Statistics& statistics) {
  Encoder to(out);
  const auto place = to.begin(Opcode::statistics);
  to.number(statistics.messages).number(static_cast<std::uint16_t>(statistics.schemas));
  to.number(statistics.channels).number(statistics.attachments).number(statistics.metadata);
  to.number(statistics.chunks).number(statistics.first_ns).number(statistics.last_ns);
  to.counts(statistics.by_channel);
  to.end(place);
}

void encode(Buffer& out, const ChunkHead& head) {
  Encoder to(out);
  to.number(static_cast<std::uint8_t>(Opcode::chunk));
  to.number(std::uint64_t{kChunkHead + head.compression.size() + head.compressed_bytes});
  to.number(head.first_ns).number(head.last_ns).number(head.bytes).number(head.crc);
  to.text(head.compression).number(head.compressed_bytes);
}

Properties Decoder::properties() {
  Properties values;
  Decoder from(take(number<std::uint32_t>()));
  while (from.ok() && !from.at_end()) {
    const auto key = from.text();
    const auto value = from.text();
    if (from.ok()) values.insert_or_assign(std::string(key), std::string(value));
  }
  ok_ = ok_ && from.ok();
  return values;
}

namespace {

// The counts of a map; false for half an entry.
bool take_counts(Decoder& from, std::map<std::uint16_t, std::uint64_t>& values) {
  values.clear();
  Decoder entries(from.take(from.number<std::uint32_t>()));
  while (entries.ok() && !entries.at_end()) {
    const auto key = entries.number<std::uint16_t>();
    const auto value = entries.number<std::uint64_t>();
    if (entries.ok()) values.insert_or_assign(key, value);
  }
  return from.ok() && entries.ok();
}

}  // namespace

// A record may be longer than what is known of it: a later version of the format may add fields at the end.

bool decode(std::span<const std::byte> content, Header& header) {
  Decoder from(content);
  header.profile = from.text();
  header.library = from.text();
  return from.ok();
}

bool decode(std::span<const std::byte> content, Footer& footer) {
  Decoder from(content);
  footer.summary = from.number<std::uint64_t>();
  footer.summary_offsets = from.number<std::uint64_t>();
  footer.crc = from.number<std::uint32_t>();
  return from.ok();
}

bool decode(std::span<const std::byte> content, Schema& schema) {
  Decoder from(content);
  schema.id = from.number<std::uint16_t>();
  schema.name = from.text();
  schema.encoding = from.text();
  schema.data = from.text();
  return from.ok() && schema.id != 0;
}

bool decode(std::span<const std::byte> content, Channel& channel) {
  Decoder from(content);
  channel.id = from.number<std::uint16_t>();
  channel.schema = from.number<std::uint16_t>();
  channel.topic = from.text();
  channel.encoding = from.text();
  channel.metadata = from.properties();
  return from.ok();
}

bool decode(std::span<const std::byte> content, Message& message) {
  Decoder from(content);
  message.channel = from.number<std::uint16_t>();
  message.sequence = from.number<std::uint32_t>();
  message.log_ns = from.number<std::uint64_t>();
  message.publish_ns = from.number<std::uint64_t>();
  message.data = from.rest();
  return from.ok();
}

bool decode(std::span<const std::byte> content, Attachment& attachment) {
  Decoder from(content);
  attachment.log_ns = from.number<std::uint64_t>();
  attachment.created_ns = from.number<std::uint64_t>();
  attachment.name = from.text();
  attachment.media_type = from.text();
  const auto data = from.take(from.number<std::uint64_t>());
  const std::size_t covered = content.size() - from.rest().size();
  const auto crc = from.number<std::uint32_t>();
  if (!from.ok() || (crc != 0 && crc != crc32(content.first(covered)))) return false;
  attachment.data.assign(reinterpret_cast<const char*>(data.data()), data.size());
  return true;
}

bool decode(std::span<const std::byte> content, Metadata& metadata) {
  Decoder from(content);
  metadata.name = from.text();
  metadata.values = from.properties();
  return from.ok();
}

bool decode(std::span<const std::byte> content, ChunkIndex& index) {
  Decoder from(content);
  index.first_ns = from.number<std::uint64_t>();
  index.last_ns = from.number<std::uint64_t>();
  index.offset = from.number<std::uint64_t>();
  index.length = from.number<std::uint64_t>();
  index.message_indexes.clear();
  Decoder places(from.take(from.number<std::uint32_t>()));
  while (places.ok() && !places.at_end()) {
    ChunkIndex::Place place;
    place.channel = places.number<std::uint16_t>();
    place.offset = places.number<std::uint64_t>();
    if (places.ok()) index.message_indexes.push_back(place);
  }
  index.message_index_length = from.number<std::uint64_t>();
  index.compression = from.text();
  index.compressed_bytes = from.number<std::uint64_t>();
  index.bytes = from.number<std::uint64_t>();
  return places.ok() && from.ok();
}

bool decode(std::span<const std::byte> content, AttachmentIndex& index) {
  Decoder from(content);
  index.offset = from.number<std::uint64_t>();
  index.length = from.number<std::uint64_t>();
  index.log_ns = from.number<std::uint64_t>();
  index.created_ns = from.number<std::uint64_t>();
  index.data_bytes = from.number<std::uint64_t>();
  index.name = from.text();
  index.media_type = from.text();
  return from.ok();
}

bool decode(std::span<const std::byte> content, MetadataIndex& index) {
  Decoder from(content);
  index.offset = from.number<std::uint64_t>();
  index.length = from.number<std::uint64_t>();
  index.name = from.text();
  return from.ok();
}

bool decode(std::span<const std::byte> content, Statistics& statistics) {
  Decoder from(content);
  statistics.messages = from.number<std::uint64_t>();
  statistics.schemas = from.number<std::uint16_t>();
  statistics.channels = from.number<std::uint32_t>();
  statistics.attachments = from.number<std::uint32_t>();
  statistics.metadata = from.number<std::uint32_t>();
  statistics.chunks = from.number<std::uint32_t>();
  statistics.first_ns = from.number<std::uint64_t>();
  statistics.last_ns = from.number<std::uint64_t>();
  return take_counts(from, statistics.by_channel) && from.ok();
}

bool decode(std::span<const std::byte> start, ChunkHead& head, std::size_t& size) {
  Decoder from(start);
  head.first_ns = from.number<std::uint64_t>();
  head.last_ns = from.number<std::uint64_t>();
  head.bytes = from.number<std::uint64_t>();
  head.crc = from.number<std::uint32_t>();
  head.compression = from.text();
  head.compressed_bytes = from.number<std::uint64_t>();
  size = start.size() - from.rest().size();
  return from.ok();
}

bool next_record(std::span<const std::byte> bytes, std::size_t& offset, Record& record) noexcept {
  Decoder from(bytes.subspan(offset));
  record.opcode = static_cast<Opcode>(from.number<std::uint8_t>());
  record.content = from.take(from.number<std::uint64_t>());
  if (!from.ok()) return false;
  offset = bytes.size() - from.rest().size();
  return true;
}

Error bad_record(std::string_view file, std::uint64_t offset, std::string_view reason) {
  return Error(kBadInput, "read", fmt::format("{} at byte {}", file, offset))
      .with_detail(fmt::format("({})", reason));
}

}  // namespace horus::HORUS_ABI::bag
