// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/read/scan.hpp>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/format/codec.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

constexpr std::size_t kBareRun = std::size_t{1}
                                 << 20;  // bytes of records outside of chunks that are taken as one

std::size_t size_of(const Schema& schema) {
  return schema.name.size() + schema.encoding.size() + schema.data.size();
}
std::size_t size_of(const Channel& channel) {
  std::size_t size = channel.topic.size() + channel.encoding.size();
  for (const auto& [key, value] : channel.metadata) size += key.size() + value.size();
  return size;
}

class Scanner {
 public:
  Scanner(Source& source, Contents& contents, const OnPassing& on_passing)
      : window_(source), contents_(contents), on_passing_(on_passing) {}

  Task<Result<>> run();

 private:
  Task<Result<>> take(Opcode opcode, std::span<const std::byte> content);
  Task<Result<>> take_chunk(std::span<const std::byte> content);
  Task<Result<>> close_run();
  Task<Result<>> show(const Passing& passing) {
    if (on_passing_) co_return co_await on_passing_(passing);
    co_return Result<>();
  }
  const char* walk(ChunkIndex& index, std::span<const std::byte> records);
  void count(const ChunkIndex& index);

  Window window_;
  Contents& contents_;
  const OnPassing& on_passing_;
  std::uint64_t at_ = 0;    // the record in hand
  std::uint64_t next_ = 0;  // behind it
  Buffer records_;
  std::uint64_t run_ = 0;  // where records outside of chunks began
  bool in_run_ = false;
  std::map<std::uint16_t, std::uint64_t> counts_;  // of the chunk in hand
};

Task<Result<>> Scanner::run() {
  Source& source = window_.source();
  const auto header = co_await read_header(window_, contents_.header, next_);
  if (!header) co_return header.error();
  contents_.whole_end = next_;
  const std::uint64_t size = source.size();
  at_ = next_;
  for (; next_ < size; at_ = next_) {
    if (size - at_ < kRecordHead) {
      contents_.note(at_, "the file ends within the head of a record");
      break;
    }
    const auto head = co_await window_.at(at_, kRecordHead);
    if (!head) co_return head.error();
    Decoder from(*head);
    const auto opcode = static_cast<Opcode>(from.number<std::uint8_t>());
    const auto length = from.number<std::uint64_t>();
    if (opcode == Opcode{0}) {
      contents_.note(at_, "no record begins here");
      break;
    }
    if (length > size - at_ - kRecordHead) {
      contents_.note(at_, fmt::format("the file ends within a record of {} bytes", length));
      break;
    }
    next_ = at_ + kRecordHead + length;
    const bool bare = opcode == Opcode::message || opcode == Opcode::schema || opcode == Opcode::channel;
    if (bare) {
      if (in_run_ && next_ - run_ > kBareRun) {
        const auto closed = co_await close_run();
        if (!closed) co_return closed.error();
      }
      if (!in_run_) run_ = at_;
      in_run_ = true;
      if (length > kMostRecord) {
        contents_.note(at_, fmt::format("a record of {} bytes, more than this library reads", length));
        const auto closed = co_await close_run();
        if (!closed) co_return closed.error();
      }
      continue;
    }
    if (in_run_) {
      const auto closed = co_await close_run();
      if (!closed) co_return closed.error();
    }
    if (opcode == Opcode::data_end || opcode == Opcode::footer) {
      contents_.ended = true;
      break;
    }
    const bool read = opcode == Opcode::chunk || opcode == Opcode::attachment || opcode == Opcode::metadata ||
                      opcode == Opcode::message_index;
    if (read && length > kMostRecord + kMostChunkHead) {
      contents_.note(at_, fmt::format("a record of {} bytes, more than this library reads", length));
    } else if (read) {
      const auto content = co_await window_.at(at_ + kRecordHead, static_cast<std::size_t>(length));
      if (!content) co_return content.error();
      const auto taken = co_await take(opcode, *content);
      if (!taken) co_return taken.error();
    }
    contents_.whole_end = next_;
  }
  if (in_run_) {
    const auto closed = co_await close_run();
    if (!closed) co_return closed.error();
  }
  contents_.statistics.schemas = static_cast<std::uint32_t>(contents_.schemas.size());
  contents_.statistics.channels = static_cast<std::uint32_t>(contents_.channels.size());
  co_return Result<>();
}

Task<Result<>> Scanner::take(Opcode opcode, std::span<const std::byte> content) {
  if (opcode == Opcode::chunk) co_return co_await take_chunk(content);
  if (opcode == Opcode::message_index) {
    // It belongs to the chunk before it.
    Decoder from(content);
    const auto channel = from.number<std::uint16_t>();
    if (!from.ok() || contents_.chunks.empty()) co_return Result<>();
    ChunkIndex& chunk = contents_.chunks.back();
    for (auto& place : chunk.message_indexes) {
      if (place.channel == channel && place.offset == 0) place.offset = at_;
    }
    chunk.message_index_length = next_ - chunk.offset - chunk.length;
    co_return Result<>();
  }
  if (opcode == Opcode::attachment) {
    Attachment attachment;
    if (!decode(content, attachment)) {
      contents_.note(at_, "an attachment that is damaged");
      co_return Result<>();
    }
    if (contents_.attachments.size() >= kMostAttachments)
      co_return bad_record(window_.source().name(), at_, "more attachments than this library reads");
    contents_.attachments.push_back({at_, next_ - at_, attachment.log_ns, attachment.created_ns,
                                     attachment.data.size(), attachment.name, attachment.media_type});
    ++contents_.statistics.attachments;
    Passing passing;
    passing.attachment = &attachment;
    co_return co_await show(passing);
  }
  Metadata metadata;
  if (!decode(content, metadata)) {
    contents_.note(at_, "metadata that is damaged");
    co_return Result<>();
  }
  if (contents_.metadata.size() >= kMostAttachments)
    co_return bad_record(window_.source().name(), at_, "more metadata records than this library reads");
  contents_.metadata.push_back({at_, next_ - at_, metadata.name});
  ++contents_.statistics.metadata;
  Passing passing;
  passing.metadata = &metadata;
  co_return co_await show(passing);
}

const char* Scanner::walk(ChunkIndex& index, std::span<const std::byte> records) {
  counts_.clear();
  index.first_ns = index.last_ns = 0;
  bool first = true;
  const char* problem = walk_chunk(records, contents_, [&](const Message& message, std::uint64_t) {
    ++counts_[message.channel];
    index.first_ns = first ? message.log_ns : std::min(index.first_ns, message.log_ns);
    index.last_ns = std::max(index.last_ns, message.log_ns);
    first = false;
  });
  if (problem != nullptr) return problem;
  for (const auto& [channel, count] : counts_) index.message_indexes.push_back({channel, 0});
  return nullptr;
}

void Scanner::count(const ChunkIndex& index) {
  Statistics& all = contents_.statistics;
  if (!counts_.empty()) {
    all.first_ns = all.messages == 0 ? index.first_ns : std::min(all.first_ns, index.first_ns);
    all.last_ns = std::max(all.last_ns, index.last_ns);
  }
  for (const auto& [channel, count] : counts_) {
    all.messages += count;
    all.by_channel[channel] += count;
  }
  if (!index.bare) ++all.chunks;
}

Task<Result<>> Scanner::take_chunk(std::span<const std::byte> content) {
  RawChunk raw;
  ChunkIndex index;
  index.offset = at_;
  index.length = next_ - at_;
  const char* problem = split_chunk(content, raw);
  if (problem == nullptr) problem = unpack_chunk(raw, records_);
  if (problem == nullptr) problem = walk(index, records_.bytes());
  if (problem != nullptr) {
    contents_.note(at_, problem);
    co_return Result<>();
  }
  index.compression = raw.head.compression;
  index.compressed_bytes = raw.head.compressed_bytes;
  index.bytes = raw.head.bytes;
  if (contents_.chunks.size() >= kMostChunks)
    co_return bad_record(window_.source().name(), at_, "more chunks than this library reads");
  count(index);
  contents_.chunks.push_back(std::move(index));
  Passing passing;
  passing.chunk = &contents_.chunks.back();
  passing.raw = &raw;
  passing.records = records_.bytes();
  co_return co_await show(passing);
}

// The records from run_ up to the one in hand.
Task<Result<>> Scanner::close_run() {
  in_run_ = false;
  ChunkIndex index;
  index.bare = true;
  index.offset = run_;
  index.length = at_ - run_;
  index.bytes = index.length;
  index.compressed_bytes = index.length;
  if (index.length == 0) co_return Result<>();
  const auto records = co_await window_.at(index.offset, static_cast<std::size_t>(index.length));
  if (!records) co_return records.error();
  if (const char* problem = walk(index, *records); problem != nullptr) {
    contents_.note(run_, problem);
    co_return Result<>();
  }
  contents_.whole_end = at_;
  if (counts_.empty()) co_return Result<>();
  if (contents_.chunks.size() >= kMostChunks)
    co_return bad_record(window_.source().name(), run_,
                         "more messages outside of chunks than this library reads");
  count(index);
  contents_.chunks.push_back(std::move(index));
  Passing passing;
  passing.chunk = &contents_.chunks.back();
  passing.records = *records;
  co_return co_await show(passing);
}

}  // namespace

const char* walk_chunk(std::span<const std::byte> records, Contents& contents,
                       const std::function<void(const Message&, std::uint64_t)>& on_message) {
  std::size_t next = 0;
  Record record;
  Message message;
  while (next < records.size()) {
    const std::size_t at = next;
    if (!next_record(records, next, record)) return "a record within a chunk is longer than the chunk";
    switch (record.opcode) {
      case Opcode::message:
        if (!decode(record.content, message)) return "a message that is too short";
        if (!contents.channels.contains(message.channel))
          return "a message of a channel that is not described";
        on_message(message, at);
        break;
      case Opcode::schema: {
        Schema schema;
        if (!decode(record.content, schema)) return "a schema that does not follow the format";
        if (contents.schemas.contains(schema.id)) break;
        contents.texts += size_of(schema);
        if (contents.texts > kMostTexts) return "more schemas than this library reads";
        contents.schemas.emplace(schema.id, std::move(schema));
        break;
      }
      case Opcode::channel: {
        Channel channel;
        if (!decode(record.content, channel)) return "a channel that does not follow the format";
        if (contents.channels.contains(channel.id)) break;
        contents.texts += size_of(channel);
        if (contents.texts > kMostTexts) return "more channels than this library reads";
        if (channel.schema != 0 && !contents.schemas.contains(channel.schema))
          return "a channel of a schema that is not described";
        contents.channels.emplace(channel.id, std::move(channel));
        break;
      }
      default: break;
    }
  }
  return nullptr;
}

Task<Result<>> read_header(Window& window, Header& header, std::uint64_t& end) {
  const Source& source = window.source();
  constexpr std::size_t kStart = kMagic.size() + kRecordHead;
  if (source.size() < kStart) co_return bad_record(source.name(), 0, "too short for a recording (MCAP)");
  const auto start = co_await window.at(0, kStart);
  if (!start) co_return start.error();
  if (std::memcmp(start->data(), kMagic.data(), kMagic.size()) != 0)
    co_return bad_record(source.name(), 0, "this is no recording in the MCAP format");
  Decoder from(start->subspan(kMagic.size()));
  const auto opcode = static_cast<Opcode>(from.number<std::uint8_t>());
  const auto length = from.number<std::uint64_t>();
  if (opcode != Opcode::header || length > kMostTexts || length > source.size() - kStart)
    co_return bad_record(source.name(), kMagic.size(), "the header is missing or cut");
  const auto content = co_await window.at(kStart, static_cast<std::size_t>(length));
  if (!content) co_return content.error();
  if (!decode(*content, header))
    co_return bad_record(source.name(), kMagic.size(), "the header does not follow the format");
  end = kStart + length;
  co_return Result<>();
}

Task<Result<>> scan(Source& source, Contents& contents, const OnPassing& on_passing,
                    const Contents* summary) {
  contents = {};
  if (summary != nullptr) {
    contents.schemas = summary->schemas;
    contents.channels = summary->channels;
  }
  contents.file_bytes = source.size();
  Scanner scanner(source, contents, on_passing);
  co_return co_await scanner.run();
}

}  // namespace horus::HORUS_ABI::bag
