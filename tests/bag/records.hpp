// SPDX-License-Identifier: Apache-2.0
// A small recording for tests, and a look at the records of one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/bag/format/codec.hpp>
#include <horus/bag/writer.hpp>

namespace horus::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A record at the top of a file, with its place.
struct Found {
  bag::Opcode opcode{};
  std::size_t offset = 0;
  std::size_t length = 0;  // head included
  std::span<const std::byte> content = {};
};

inline std::vector<Found> records_of(std::span<const std::byte> bytes, std::size_t offset) {
  std::vector<Found> found;
  bag::Record record;
  std::size_t next = offset;
  for (std::size_t at = offset; bag::next_record(bytes, next, record); at = next)
    found.push_back({record.opcode, at, next - at, record.content});
  return found;
}
/// Those of a whole file.
inline std::vector<Found> records_of(std::string_view file) {
  return records_of(bytes_of(file).first(file.size() - bag::kMagic.size()), bag::kMagic.size());
}

inline bag::WriterOptions plain() {
  bag::WriterOptions options;
  options.compression = bag::Compression::none;
  return options;
}

/// Everything that a Writer gives, as one text.
class Recording {
 public:
  explicit Recording(bag::WriterOptions options = plain()) : writer(std::move(options)) {
    put(writer.begin());
  }

  void put(std::span<const std::byte> bytes) { file += text_of(bytes); }
  std::uint16_t channel(std::string_view topic, std::string_view encoding = "json") {
    const auto schema = writer.add_schema("Reading", "jsonschema", R"({"type":"object"})").or_throw();
    return writer.add_channel(topic, encoding, schema).or_throw();
  }
  void add(std::uint16_t channel, std::uint64_t log_ns, std::string_view data) {
    writer
        .add({.channel = channel,
              .sequence = sequence++,
              .log_ns = log_ns,
              .publish_ns = log_ns - 1,
              .data = bytes_of(data)})
        .or_throw();
  }
  void close_chunk() {
    auto chunk = writer.take();
    chunk.seal(writer.options().compression, writer.options().level, writer.options().least_saving);
    put(writer.place(chunk));
  }
  const std::string& finish() {
    if (!writer.open().empty()) close_chunk();
    put(writer.finish());
    return file;
  }

  bag::Writer writer;
  std::string file;
  std::uint32_t sequence = 0;
};

}  // namespace horus::testing
