// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/writer.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/write/end.hpp>
#include <horus/base/assert.hpp>
#include <horus/base/version.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

Error refused(int code, std::string_view target, std::string_view why) {
  return Error(code, "record", target).with_detail(fmt::format("({})", why));
}

}  // namespace

Writer::Writer(WriterOptions options) : options_(std::move(options)) {
  HORUS_ASSERT(options_.compression != Compression::lz4, "recordings are written with zstd, or plain");
  options_.chunk_bytes = std::min(options_.chunk_bytes, kMostMessage);
}

Result<std::uint16_t> Writer::add_schema(std::string_view name, std::string_view encoding,
                                         std::string_view data) {
  if (name.empty()) return refused(EINVAL, "a schema", "it needs a name");
  std::tuple<std::string, std::string, std::string> key(name, encoding, data);
  if (const auto known = known_schemas_.find(key); known != known_schemas_.end()) return known->second;
  if (statistics_.schemas >= UINT16_MAX)
    return refused(ENOBUFS, name, fmt::format("a file has at most {} schemas", UINT16_MAX));
  if (schemas_.size() + channels_.size() + name.size() + data.size() > kMostTexts)
    return refused(ENOBUFS, name, "the schemas and channels of a file have at most 64 MiB");
  const auto id = static_cast<std::uint16_t>(statistics_.schemas + 1);
  const std::size_t place = schemas_.size();
  encode(schemas_, Schema{id, std::string(name), std::string(encoding), std::string(data)});
  open_.add_record(schemas_.bytes().subspan(place));
  known_schemas_.emplace(std::move(key), id);
  statistics_.schemas = id;
  return id;
}

Result<std::uint16_t> Writer::add_channel(std::string_view topic, std::string_view encoding,
                                          std::uint16_t schema, const Properties& metadata) {
  if (topic.empty()) return refused(EINVAL, "a channel", "it needs a topic");
  if (schema > statistics_.schemas)
    return refused(EINVAL, topic, fmt::format("there is no schema {}; call add_schema first", schema));
  if (statistics_.channels >= kMostChannels)
    return refused(ENOBUFS, topic, fmt::format("a file has at most {} channels", kMostChannels));
  std::size_t size = topic.size() + encoding.size();
  for (const auto& [key, value] : metadata) size += key.size() + value.size() + 8;
  if (schemas_.size() + channels_.size() + size > kMostTexts)
    return refused(ENOBUFS, topic, "the schemas and channels of a file have at most 64 MiB");
  const auto id = static_cast<std::uint16_t>(statistics_.channels + 1);
  const std::size_t place = channels_.size();
  encode(channels_, Channel{id, schema, std::string(topic), std::string(encoding), metadata});
  open_.add_record(channels_.bytes().subspan(place));
  statistics_.channels = id;
  return id;
}

void Writer::describe(const Schema& schema) {
  const std::size_t place = schemas_.size();
  encode(schemas_, schema);
  open_.add_record(schemas_.bytes().subspan(place));
  ++statistics_.schemas;
}

void Writer::describe(const Channel& channel) {
  const std::size_t place = channels_.size();
  encode(channels_, channel);
  open_.add_record(channels_.bytes().subspan(place));
  ++statistics_.channels;
}

Writer Writer::describing() const {
  Writer further(options_);
  further.further_ = true;
  further.known_schemas_ = known_schemas_;
  further.schemas_.append(schemas_.bytes().data(), schemas_.size());
  further.channels_.append(channels_.bytes().data(), channels_.size());
  further.statistics_.schemas = statistics_.schemas;
  further.statistics_.channels = statistics_.channels;
  return further;
}

void Writer::begin_further_file() {
  Writer further = describing();
  further.open_ = std::move(open_);
  further.opened_ns_ = opened_ns_;
  *this = std::move(further);
}

Result<> Writer::add(const Message& message) {
  if (message.channel == 0 || message.channel > statistics_.channels) [[unlikely]]
    return refused(EINVAL, "a message",
                   fmt::format("there is no channel {}; call add_channel first", message.channel));
  if (message.data.size() > kMostMessage) [[unlikely]]
    return refused(EMSGSIZE, "a message", fmt::format("more than {} MiB", kMostMessage >> 20));
  if (open_.size() + message.data.size() > kMostRecord - kRecordHead - kMessageHead) [[unlikely]]
    return refused(EMSGSIZE, "a message", "the open chunk is full: take() it when it is due()");
  if (open_.messages() == 0) opened_ns_ = message.log_ns;
  open_.add(message);
  return {};
}

Chunk Writer::take(Chunk next) {
  next.clear();
  return std::exchange(open_, std::move(next));
}

std::span<const std::byte> Writer::give() {
  position_ += given_.size();
  return given_.bytes();
}

std::span<const std::byte> Writer::begin() {
  HORUS_ASSERT(position_ == 0, "a file begins once");
  given_.clear();
  Encoder(given_).bytes(std::as_bytes(std::span(kMagic)));
  encode(given_, Header{options_.profile, fmt::format("horus {}", version())});
  // Of a further file: its first chunks may use channels that were described in an earlier one.
  if (further_) Encoder(given_).bytes(schemas_.bytes()).bytes(channels_.bytes());
  return give();
}

std::span<const std::byte> Writer::place(const Chunk& chunk) {
  HORUS_ASSERT(position_ > 0 && chunk.sealed(), "begin() the file and seal() the chunk before it is placed");
  const auto bytes = chunk.bytes();
  if (chunk.messages() > 0) {
    HORUS_ASSERT(!full(), "full() says when a further file has to begin");
    ChunkIndex index = chunk.index();
    index.offset += position_;
    for (auto& place : index.message_indexes) place.offset += position_;
    last_index_ = chunk_indexes_.size();
    last_first_ns_ = statistics_.first_ns;
    last_last_ns_ = statistics_.last_ns;
    encode(chunk_indexes_, index);
    statistics_.first_ns =
        statistics_.messages == 0 ? chunk.first_ns() : std::min(statistics_.first_ns, chunk.first_ns());
    statistics_.last_ns = std::max(statistics_.last_ns, chunk.last_ns());
    statistics_.messages += chunk.messages();
    for (const auto& [channel, count] : chunk.counts()) statistics_.by_channel[channel] += count;
    ++statistics_.chunks;
  }
  position_ += bytes.size();
  return bytes;
}

void Writer::withdraw(const Chunk& chunk) {
  position_ -= chunk.bytes().size();
  if (chunk.messages() == 0) return;
  chunk_indexes_.shorten(last_index_);
  statistics_.first_ns = last_first_ns_;
  statistics_.last_ns = last_last_ns_;
  statistics_.messages -= chunk.messages();
  for (const auto& [channel, count] : chunk.counts()) {
    std::uint64_t& left = statistics_.by_channel[channel];
    left -= count;
    if (left == 0) statistics_.by_channel.erase(channel);
  }
  --statistics_.chunks;
}

Result<std::span<const std::byte>> Writer::place(const Attachment& attachment) {
  if (attachment.data.size() + attachment.name.size() + attachment.media_type.size() > kMostRecord)
    return refused(EMSGSIZE, attachment.name, fmt::format("more than {} MiB", kMostRecord >> 20));
  if (statistics_.attachments >= kMostAttachments)
    return refused(ENOBUFS, attachment.name,
                   fmt::format("a file has at most {} attachments", kMostAttachments));
  given_.clear();
  encode(given_, attachment);
  encode(attachment_indexes_,
         AttachmentIndex{position_, given_.size(), attachment.log_ns, attachment.created_ns,
                         attachment.data.size(), attachment.name, attachment.media_type});
  ++statistics_.attachments;
  return give();
}

Result<std::span<const std::byte>> Writer::place(const Metadata& metadata) {
  std::size_t size = metadata.name.size();
  for (const auto& [key, value] : metadata.values) size += key.size() + value.size() + 8;
  if (size > kMostTexts)
    return refused(EMSGSIZE, metadata.name, fmt::format("more than {} MiB", kMostTexts >> 20));
  if (statistics_.metadata >= kMostAttachments)
    return refused(ENOBUFS, metadata.name,
                   fmt::format("a file has at most {} metadata records", kMostAttachments));
  given_.clear();
  encode(given_, metadata);
  encode(metadata_indexes_, MetadataIndex{position_, given_.size(), metadata.name});
  ++statistics_.metadata;
  return give();
}

std::span<const std::byte> Writer::finish() {
  HORUS_ASSERT(open_.empty(), "take() and place() the open chunk before the end");
  return finish_part();
}

std::span<const std::byte> Writer::finish_part() {
  HORUS_ASSERT(position_ > 0, "begin() the file before its end");
  given_.clear();
  encode_end(given_, position_,
             Summary{schemas_.bytes(), channels_.bytes(), chunk_indexes_.bytes(), attachment_indexes_.bytes(),
                     metadata_indexes_.bytes(), statistics_});
  return give();
}

}  // namespace horus::HORUS_ABI::bag
