// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/writer.hpp>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "records.hpp"

using namespace horus::bag;
using horus::testing::bytes_of;
using horus::testing::Found;
using horus::testing::plain;
using horus::testing::Recording;
using horus::testing::records_of;
using horus::testing::text_of;

namespace {

std::vector<Opcode> opcodes_of(const std::vector<Found>& records) {
  std::vector<Opcode> all;
  for (const Found& record : records) all.push_back(record.opcode);
  return all;
}

const Found& only(const std::vector<Found>& records, Opcode opcode) {
  return *std::ranges::find(records, opcode, &Found::opcode);
}

struct Unpacked {
  ChunkHead head;
  std::span<const std::byte> data;
};
Unpacked unpacked(const Found& record) {
  Unpacked chunk;
  std::size_t size = 0;
  REQUIRE(decode(record.content, chunk.head, size));
  chunk.data = record.content.subspan(size);
  return chunk;
}

}  // namespace

TEST_SUITE("bag/writer") {
  TEST_CASE("the checksum is zlib's CRC-32, not CRC-32C") {
    CHECK(crc32(bytes_of("123456789")) == 0xCBF43926);
    CHECK(crc32(bytes_of("6789"), crc32(bytes_of("12345"))) == 0xCBF43926);
  }

  TEST_CASE("a file begins and ends with the magic, and its records come in the order of the format") {
    Recording recording;
    const auto left = recording.channel("/left");
    const auto right = recording.channel("/right");
    recording.add(left, 10, "{}");
    recording.add(right, 11, "[]");
    recording.close_chunk();
    recording.put(recording.writer.place(Metadata{"clock", {{"source", "test"}}}).or_throw());
    recording.put(recording.writer.place(Attachment{1, 2, "a.txt", "text/plain", "hello"}).or_throw());
    recording.add(left, 12, "{}");
    const std::string& file = recording.finish();
    CHECK(file.starts_with("\x89MCAP0\r\n"));
    CHECK(file.ends_with("\x89MCAP0\r\n"));
    using enum Opcode;
    CHECK(opcodes_of(records_of(file)) ==
          std::vector{header,           chunk,          message_index,  message_index,  metadata,
                      attachment,       chunk,          message_index,  data_end,       schema,
                      channel,          channel,        statistics,     chunk_index,    chunk_index,
                      attachment_index, metadata_index, summary_offset, summary_offset, summary_offset,
                      summary_offset,   summary_offset, summary_offset, footer});
    Header who;
    REQUIRE(decode(records_of(file)[0].content, who));
    CHECK(who.profile == "ros2");
    CHECK(who.library.starts_with("horus "));
    CHECK(recording.writer.position() == file.size());
  }

  TEST_CASE("schema and channel come before the first message, and once in the data") {
    Recording recording;
    const auto channel = recording.channel("/left");
    recording.add(channel, 10, "{}");
    recording.close_chunk();
    recording.add(channel, 11, "{}");
    const std::string& file = recording.finish();
    const auto records = records_of(file);
    const auto chunk = unpacked(records[1]);
    CHECK(opcodes_of(records_of(chunk.data, 0)) ==
          std::vector{Opcode::schema, Opcode::channel, Opcode::message});
    CHECK(opcodes_of(records_of(unpacked(records[3]).data, 0)) == std::vector{Opcode::message});
    CHECK(chunk.head.crc == crc32(chunk.data));
    CHECK(chunk.head.first_ns == 10);
  }

  TEST_CASE("a message takes 31 bytes and its data, and 16 in the index of its channel") {
    Recording recording;
    const auto channel = recording.channel("/left");
    const auto before = recording.writer.open().size();
    recording.add(channel, 10, "12345");
    CHECK(recording.writer.open().size() == before + 31 + 5);
    recording.add(channel, 11, "12345");
    const auto& file = recording.finish();
    const auto records = records_of(file);
    CHECK(only(records, Opcode::message_index).content.size() == 2 + 4 + 2 * 16);
  }

  TEST_CASE("indexes lead to the messages, in the order of their log time, equal ones as they came") {
    Recording recording;
    const auto left = recording.channel("/left");
    const auto right = recording.channel("/right");
    recording.add(left, 30, "late");
    recording.add(right, 20, "right");
    recording.add(left, 10, "early");
    recording.add(left, 10, "early too");
    const auto& file = recording.finish();
    const auto records = records_of(file);
    const auto chunk = unpacked(only(records, Opcode::chunk));
    ChunkIndex index;
    REQUIRE(decode(only(records, Opcode::chunk_index).content, index));
    CHECK(index.first_ns == 10);
    CHECK(index.last_ns == 30);
    CHECK(index.offset == records[1].offset);
    CHECK(index.length == records[1].length);
    CHECK(index.message_index_length == records[2].length + records[3].length);
    REQUIRE(index.message_indexes.size() == 2);
    CHECK(index.message_indexes[0] == ChunkIndex::Place{left, records[2].offset});
    CHECK(index.message_indexes[1] == ChunkIndex::Place{right, records[3].offset});
    Decoder entries(records[2].content);
    CHECK(entries.number<std::uint16_t>() == left);
    CHECK(entries.number<std::uint32_t>() == 3 * 16);
    std::vector<std::string> order;
    while (!entries.at_end()) {
      const auto log_ns = entries.number<std::uint64_t>();
      std::size_t offset = entries.number<std::uint64_t>();
      Record record;
      Message message;
      REQUIRE(next_record(chunk.data, offset, record));
      REQUIRE(decode(record.content, message));
      CHECK(message.log_ns == log_ns);
      CHECK(message.channel == left);
      order.emplace_back(text_of(message.data));
    }
    CHECK(order == std::vector<std::string>{"early", "early too", "late"});
  }

  TEST_CASE("the footer's checksum covers the summary and the footer up to itself") {
    Recording recording;
    recording.add(recording.channel("/left"), 10, "{}");
    const auto& file = recording.finish();
    const auto records = records_of(file);
    Footer footer;
    REQUIRE(decode(records.back().content, footer));
    CHECK(footer.summary == only(records, Opcode::schema).offset);
    CHECK(footer.summary_offsets == only(records, Opcode::summary_offset).offset);
    const std::size_t end = file.size() - kMagic.size() - sizeof(footer.crc);
    CHECK(footer.crc == crc32(bytes_of(file).subspan(footer.summary, end - footer.summary)));
  }

  TEST_CASE("each group of the summary has its offset") {
    Recording recording;
    recording.add(recording.channel("/left"), 10, "{}");
    recording.close_chunk();
    recording.put(recording.writer.place(Metadata{"m", {}}).or_throw());
    const auto& file = recording.finish();
    const auto records = records_of(file);
    int groups = 0;
    for (const Found& record : records) {
      if (record.opcode != Opcode::summary_offset) continue;
      ++groups;
      Decoder from(record.content);
      const auto opcode = static_cast<Opcode>(from.number<std::uint8_t>());
      const auto start = from.number<std::uint64_t>();
      const auto length = from.number<std::uint64_t>();
      const auto group = records_of(bytes_of(file).subspan(start, length), 0);
      REQUIRE(!group.empty());
      for (const Found& inside : group) CHECK(inside.opcode == opcode);
      CHECK(group.back().offset + group.back().length == length);
    }
    CHECK(groups == 5);
  }

  TEST_CASE("a chunk that hardly gets smaller is stored plain, another one is packed") {
    for (const bool noisy : {false, true}) {
      WriterOptions options;
      Recording recording(options);
      const auto channel = recording.channel("/left");
      std::string data(100'000, 'a');
      std::uint32_t state = 1;
      for (char& letter : data) {
        state = state * 1664525U + 1013904223U;
        if (noisy) letter = static_cast<char>(state >> 24);
      }
      recording.add(channel, 10, data);
      const auto& file = recording.finish();
      const auto chunk = unpacked(only(records_of(file), Opcode::chunk));
      CHECK(chunk.head.compression == (noisy ? "" : "zstd"));
      CHECK((chunk.data.size() < 5000) == !noisy);
      CHECK(chunk.head.compressed_bytes == chunk.data.size());
      CHECK(chunk.head.bytes > data.size());
    }
  }

  TEST_CASE("a chunk is due by its size, or by the age of its first message") {
    auto options = plain();
    options.chunk_bytes = 1000;
    options.chunk_ns = 50;
    Recording recording(options);
    const auto channel = recording.channel("/left");
    CHECK(!recording.writer.due(1'000'000));
    recording.add(channel, 100, "x");
    CHECK(!recording.writer.due(149));
    CHECK(recording.writer.due(150));
    CHECK(!recording.writer.due(20));  // the clock was set back
    recording.add(channel, 101, std::string(1000, 'x'));
    CHECK(recording.writer.due(101));
    recording.close_chunk();
    CHECK(!recording.writer.due(1'000'000));
  }

  TEST_CASE("statistics count what was placed, and a chunk that could not be written is taken back") {
    Recording recording;
    const auto left = recording.channel("/left");
    const auto right = recording.channel("/right");
    recording.add(left, 10, "{}");
    recording.close_chunk();
    const auto position = recording.writer.position();
    recording.add(right, 5, "{}");
    recording.add(left, 40, "{}");
    auto chunk = recording.writer.take();
    chunk.seal(Compression::none);
    const auto bytes = recording.writer.place(chunk).size();
    CHECK(recording.writer.position() == position + bytes);
    CHECK(recording.writer.statistics().messages == 3);
    CHECK(recording.writer.statistics().first_ns == 5);
    recording.writer.withdraw(chunk);
    CHECK(recording.writer.position() == position);
    const auto& statistics = recording.writer.statistics();
    CHECK(statistics.messages == 1);
    CHECK(statistics.chunks == 1);
    CHECK(statistics.first_ns == 10);
    CHECK(statistics.last_ns == 10);
    CHECK(statistics.by_channel == std::map<std::uint16_t, std::uint64_t>{{left, 1}});
    const auto& file = recording.finish();
    CHECK(std::ranges::count(records_of(file), Opcode::chunk_index, &Found::opcode) == 1);
  }

  TEST_CASE("channels without messages are records outside of chunks") {
    Recording recording;
    recording.channel("/left");
    const auto& file = recording.finish();
    using enum Opcode;
    CHECK(opcodes_of(records_of(file)) == std::vector{header, schema, channel, data_end, schema, channel,
                                                      statistics, summary_offset, summary_offset,
                                                      summary_offset, footer});
  }

  TEST_CASE("equal schemas have one id, channels each their own") {
    Writer writer;
    const auto one = writer.add_schema("A", "ros2msg", "int32 a").or_throw();
    CHECK(writer.add_schema("A", "ros2msg", "int32 a").or_throw() == one);
    CHECK(writer.add_schema("A", "ros2msg", "int64 a").or_throw() != one);
    const auto channel = writer.add_channel("/a", "cdr", one).or_throw();
    CHECK(writer.add_channel("/a", "cdr", one).or_throw() != channel);
  }

  TEST_CASE("what cannot be recorded is refused, and says why") {
    Writer writer;
    CHECK(writer.add_schema("", "", "").code() == EINVAL);
    CHECK(writer.add_channel("", "cdr", 0).code() == EINVAL);
    const auto no_schema = writer.add_channel("/a", "cdr", 7);
    REQUIRE(!no_schema);
    CHECK(no_schema.error().message() ==
          "record /a: invalid argument (there is no schema 7; call add_schema first)");
    CHECK(writer.add(Message{}).code() == EINVAL);
    const auto channel = writer.add_channel("/a", "application/octet-stream", 0).or_throw();
    const std::vector<std::byte> large(kMostMessage + 1);
    CHECK(writer.add({.channel = channel, .data = large}).code() == EMSGSIZE);
    CHECK(writer.add_schema("A", "ros2msg", std::string(kMostTexts, 'x')).code() == ENOBUFS);
  }

  TEST_CASE("a used chunk can be filled again") {
    Recording recording;
    const auto channel = recording.channel("/left");
    recording.add(channel, 10, std::string(1000, 'a'));
    auto chunk = recording.writer.take();
    chunk.seal();
    recording.put(recording.writer.place(chunk));
    recording.add(channel, 20, "b");
    auto second = recording.writer.take(std::move(chunk));
    recording.add(channel, 30, "c");
    CHECK(recording.writer.open().messages() == 1);
    CHECK(recording.writer.open().first_ns() == 30);
    second.seal(Compression::none);
    CHECK(second.index().first_ns == 20);
  }
}
