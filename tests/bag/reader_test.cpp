// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/reader.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <lz4frame.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/bag/format/compression.hpp>
#include <horus/io/file_contents.hpp>

#include "../support/through_backend.hpp"
#include "records.hpp"

using horus::Task;
using namespace horus::bag;
using horus::testing::bytes_of;
using horus::testing::Folder;
using horus::testing::Found;
using horus::testing::plain;
using horus::testing::Recording;
using horus::testing::records_of;
using horus::testing::text_of;

namespace {

// What a reader tells about a recording: its messages as "topic@time=data", and how it ended.
struct Told {
  std::vector<std::string> messages;
  std::vector<std::string> errors;  // of next()
  std::string refused;              // of open()
  Contents contents;
};

Task<Told> told_of(std::string file, ReaderOptions options, Selection selection) {
  Told told;
  auto bag = co_await Reader::open(in_memory(bytes_of(file), "run.mcap"), options);
  if (!bag) {
    told.refused = bag.error().message();
    co_return told;
  }
  told.contents = bag->contents();
  bag->select(selection);
  while (told.errors.size() < 100) {
    const auto message = co_await bag->next();
    if (!message) {
      if (message.code() == horus::kEndOfStream) break;
      told.errors.push_back(message.error().message());
      if (message.code() != horus::kBadInput) break;
      continue;
    }
    const auto& channel = bag->contents().channels.at(message->channel);
    told.messages.push_back(fmt::format("{}@{}={}", channel.topic, message->log_ns, text_of(message->data)));
  }
  co_return told;
}

Told read_all(const std::string& file, const ReaderOptions& options = {}, const Selection& selection = {}) {
  auto telling = told_of(file, options, selection);
  return horus::io::run(std::move(telling));
}

// Two channels, chunks of two messages.
Recording small(WriterOptions options = plain()) {
  Recording recording(std::move(options));
  const auto left = recording.channel("/left");
  const auto right = recording.channel("/right");
  for (std::uint64_t i = 1; i <= 3; ++i) {
    recording.add(left, i * 10, "l");
    recording.add(right, i * 10 + 5, "r");
    recording.close_chunk();
  }
  return recording;
}
const std::vector<std::string> kSmall = {"/left@10=l",  "/right@15=r", "/left@20=l",
                                         "/right@25=r", "/left@30=l",  "/right@35=r"};

Selection only(std::string topic) {
  Selection selection;
  selection.channel = [topic](const Channel& channel) { return channel.topic == topic; };
  return selection;
}

const Found& nth(const std::vector<Found>& records, Opcode opcode, int n) {
  for (const Found& record : records) {
    if (record.opcode == opcode && n-- == 0) return record;
  }
  throw std::out_of_range("no such record");
}

ReaderOptions scanning() {
  ReaderOptions options;
  options.ignore_index = true;
  return options;
}

// A file whose one chunk has these packed bytes.
std::string with_chunk(std::string_view packed, std::string_view compression, std::uint64_t size,
                       std::uint32_t crc = 0) {
  Recording recording;
  recording.channel("/left");
  recording.close_chunk();
  Buffer head;
  encode(head, ChunkHead{10, 10, size, crc, compression, packed.size()});
  return recording.file + std::string(text_of(head.bytes())) + std::string(packed);
}

}  // namespace

TEST_SUITE("bag/reader") {
  TEST_CASE("what was written is read, by the index and without it, packed and plain") {
    for (const auto compression : {Compression::none, Compression::zstd}) {
      auto options = plain();
      options.compression = compression;
      options.least_saving = 0;
      Recording recording = small(options);
      recording.put(recording.writer.place(Metadata{"clock", {{"source", "test"}}}).or_throw());
      recording.put(recording.writer.place(Attachment{1, 2, "a.txt", "text/plain", "hello"}).or_throw());
      recording.finish();
      for (const bool ignore : {false, true}) {
        CAPTURE(ignore);
        const Told told = read_all(recording.file, ignore ? scanning() : ReaderOptions());
        CHECK(told.refused == "");
        CHECK(told.errors.empty());
        CHECK(told.messages == kSmall);
        const Contents& contents = told.contents;
        CHECK(contents.indexed == !ignore);
        CHECK(contents.damages.empty());
        CHECK(contents.header.profile == "ros2");
        CHECK(contents.statistics.messages == 6);
        CHECK(contents.statistics.chunks == 3);
        CHECK(contents.statistics.channels == 2);
        CHECK(contents.statistics.first_ns == 10);
        CHECK(contents.statistics.last_ns == 35);
        CHECK(contents.statistics.by_channel == std::map<std::uint16_t, std::uint64_t>{{1, 3}, {2, 3}});
        REQUIRE(contents.chunks.size() == 3);
        CHECK(contents.chunks[1].first_ns == 20);
        CHECK(contents.chunks[1].message_indexes.size() == 2);
        CHECK(contents.chunks[1].message_indexes[0].offset ==
              nth(records_of(recording.file), Opcode::message_index, 2).offset);
        CHECK(contents.schemas.at(1).encoding == "jsonschema");
        REQUIRE(contents.attachments.size() == 1);
        CHECK(contents.attachments[0].name == "a.txt");
        CHECK(contents.attachments[0].data_bytes == 5);
        REQUIRE(contents.metadata.size() == 1);
      }
    }
  }

  TEST_CASE("attachments and metadata are read when they are asked for") {
    Recording recording = small();
    recording.put(recording.writer.place(Metadata{"clock", {{"source", "test"}}}).or_throw());
    recording.put(recording.writer.place(Attachment{1, 2, "a.txt", "text/plain", "hello"}).or_throw());
    recording.finish();
    auto body = [&]() -> Task<> {
      auto bag = co_await Reader::open(in_memory(bytes_of(recording.file), "run.mcap"), ReaderOptions());
      REQUIRE(bag);
      const auto metadata = co_await bag->metadata(bag->contents().metadata[0]);
      CHECK(metadata->values.at("source") == "test");
      const auto attachment = co_await bag->attachment(bag->contents().attachments[0]);
      CHECK(attachment->data == "hello");
      CHECK(attachment->media_type == "text/plain");
      AttachmentIndex nowhere;
      nowhere.offset = recording.file.size() - 4;
      nowhere.length = 4;
      const auto damaged = co_await bag->attachment(nowhere);
      CHECK(damaged.code() == horus::kBadInput);
    };
    horus::io::run(body());
  }

  TEST_CASE("a file on the disk is read on the reactor") {
    Folder folder;
    const std::string file = small().finish();
    auto body = [&]() -> Task<> {
      const std::string path = folder / "run.mcap";
      const auto written = co_await horus::io::write_file(path, file);
      REQUIRE(written);
      auto bag = co_await Reader::open(path);
      REQUIRE(bag);
      std::uint64_t count = 0;
      while (true) {
        const auto message = co_await bag->next();
        if (!message) break;
        ++count;
      }
      CHECK(count == 6);
      CHECK(bag->name() == path);
      const auto none = co_await Reader::open(folder / "none.mcap");
      CHECK(none.code() == ENOENT);
    };
    horus::io::run(body());
  }

  TEST_CASE("messages come in the order of their log time, equal ones in the order of the file") {
    Recording recording;
    const auto left = recording.channel("/left");
    const auto right = recording.channel("/right");
    recording.add(left, 50, "a");
    recording.add(right, 10, "b");
    recording.add(left, 20, "c");
    recording.close_chunk();
    recording.add(right, 50, "d");
    recording.add(left, 20, "e");
    recording.add(left, 5, "f");
    recording.close_chunk();
    recording.add(left, 50, "g");
    recording.add(right, 20, "h");
    recording.finish();
    const std::vector<std::string> expected = {"/left@5=f",   "/right@10=b", "/left@20=c",  "/left@20=e",
                                               "/right@20=h", "/left@50=a",  "/right@50=d", "/left@50=g"};
    CHECK(read_all(recording.file).messages == expected);
    CHECK(read_all(recording.file, scanning()).messages == expected);
    // With hardly any memory: chunks are dropped, and unpacked again.
    ReaderOptions little;
    little.memory_bytes = 200;
    CHECK(read_all(recording.file, little).messages == expected);
  }

  TEST_CASE("chunks that overlap more than the memory allows are an error that says so") {
    Recording recording;
    const auto left = recording.channel("/left");
    for (int chunk = 0; chunk < 4; ++chunk) {
      for (std::uint64_t i = 1; i <= 20; ++i) recording.add(left, i, "x");
      recording.close_chunk();
    }
    recording.finish();
    ReaderOptions little;
    little.memory_bytes = 700;
    const Told told = read_all(recording.file, little);
    REQUIRE(told.errors.size() == 1);
    CHECK(told.errors[0].find("overlap in time") != std::string::npos);
  }

  TEST_CASE("a selection gives some topics and a part of the time, and starts anew") {
    const std::string file = small().finish();
    CHECK(read_all(file, {}, only("/right")).messages ==
          std::vector<std::string>{"/right@15=r", "/right@25=r", "/right@35=r"});
    Selection part = only("/left");
    part.first_ns = 11;
    part.last_ns = 30;
    CHECK(read_all(file, {}, part).messages == std::vector<std::string>{"/left@20=l", "/left@30=l"});
    CHECK(read_all(file, {}, only("/none")).messages.empty());
  }

  TEST_CASE("chunks without anything of the selection are not read") {
    std::string file = small().finish();
    const auto second = nth(records_of(file), Opcode::chunk, 1);
    file[second.offset + second.length - 1] ^= 1;
    Selection part;
    part.first_ns = 30;
    CHECK(read_all(file, {}, part).errors.empty());
    CHECK(read_all(file).errors.size() == 1);
  }

  TEST_CASE("of a file cut anywhere every complete chunk is read") {
    const std::string file = small().finish();
    const auto records = records_of(file);
    const std::size_t start = records[0].offset + records[0].length;
    for (std::size_t size = 0; size < file.size(); ++size) {
      CAPTURE(size);
      const Told told = read_all(file.substr(0, size));
      if (size < start) {
        CHECK(told.refused.starts_with("read run.mcap at byte "));
        continue;
      }
      std::size_t chunks = 0;
      for (const Found& record : records) {
        if (record.opcode == Opcode::chunk && record.offset + record.length <= size) ++chunks;
      }
      CHECK(told.messages ==
            std::vector(kSmall.begin(), kSmall.begin() + static_cast<std::ptrdiff_t>(2 * chunks)));
      CHECK(!told.contents.indexed);
      CHECK(told.contents.whole_end <= size);
      CHECK(told.contents.damages.size() <= 1);
    }
  }

  TEST_CASE("any damaged byte is found by a checksum, or changes nothing that is read") {
    const std::string file = small().finish();
    for (std::size_t i = 0; i < file.size(); ++i) {
      std::string damaged = file;
      damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
      CAPTURE(i);
      const Told told = read_all(damaged);
      const bool noticed = !told.refused.empty() || !told.errors.empty() || !told.contents.damages.empty() ||
                           !told.contents.indexed;
      CHECK((noticed || told.messages == kSmall));
      for (const auto& message : told.messages) CHECK(std::ranges::find(kSmall, message) != kSmall.end());
    }
  }

  TEST_CASE("a damaged chunk is skipped with its place and reason, and reading goes on behind it") {
    std::string file = small().finish();
    const auto second = nth(records_of(file), Opcode::chunk, 1);
    file[second.offset + second.length - 1] ^= 1;
    const std::vector<std::string> rest = {kSmall[0], kSmall[1], kSmall[4], kSmall[5]};
    const Told told = read_all(file);
    CHECK(told.messages == rest);
    REQUIRE(told.errors.size() == 1);
    CHECK(
        told.errors[0] ==
        fmt::format("read run.mcap at byte {}: bad input (the checksum of a chunk differs)", second.offset));
    const Told scanned = read_all(file, scanning());
    CHECK(scanned.messages == rest);
    REQUIRE(scanned.contents.damages.size() == 1);
    CHECK(scanned.contents.damages[0].offset == second.offset);
  }

  TEST_CASE("a damaged index is not believed: the file is scanned, and says why") {
    std::string file = small().finish();
    const auto statistics = nth(records_of(file), Opcode::statistics, 0);
    file[statistics.offset + kRecordHead] ^= 1;
    const Told told = read_all(file);
    CHECK(told.messages == kSmall);
    CHECK(!told.contents.indexed);
    REQUIRE(told.contents.damages.size() == 1);
    CHECK(told.contents.damages[0].reason == "the checksum of the index differs");
  }

  TEST_CASE("messages outside of chunks are read too") {
    Recording recording;
    recording.channel("/left");
    recording.close_chunk();
    Buffer messages;
    for (std::uint64_t i = 1; i <= 3; ++i)
      encode(messages, Message{.channel = 1, .log_ns = i, .data = bytes_of("bare")});
    recording.file += text_of(messages.bytes());
    const std::vector<std::string> expected = {"/left@1=bare", "/left@2=bare", "/left@3=bare"};
    CHECK(read_all(recording.file).messages == expected);
    // Cut within the last one.
    recording.file.pop_back();
    CHECK(read_all(recording.file).messages == std::vector(expected.begin(), expected.end() - 1));
  }

  TEST_CASE("chunks of LZ4 are read") {
    Buffer records;
    encode(records, Message{.channel = 1, .log_ns = 10, .data = bytes_of(std::string(1000, 'z'))});
    std::string packed(LZ4F_compressFrameBound(records.size(), nullptr), '\0');
    packed.resize(LZ4F_compressFrame(packed.data(), packed.size(), records.data(), records.size(), nullptr));
    const Told told = read_all(with_chunk(packed, "lz4", records.size(), crc32(records.bytes())));
    CHECK(told.messages == std::vector<std::string>{"/left@10=" + std::string(1000, 'z')});
    const auto reason = [&](std::string_view bytes, std::uint64_t size) {
      const Told damaged = read_all(with_chunk(bytes, "lz4", size));
      CHECK(damaged.messages.empty());
      return damaged.contents.damages.empty() ? "" : damaged.contents.damages[0].reason;
    };
    CHECK(reason(packed, records.size() - 1) == "lz4: it unpacks to more than it says");
    CHECK(reason(packed, records.size() + 1) == "lz4: it unpacks to less than it says");
    CHECK(reason(packed.substr(0, packed.size() - 6), records.size()) != "");
    CHECK(reason(packed, kMostRecord) == "lz4: so few bytes cannot unpack to so many");
  }

  TEST_CASE("lengths that cannot be and bombs are errors, and nothing is allocated for them") {
    const auto reason = [](std::string_view packed, std::string_view compression, std::uint64_t size) {
      const Told told = read_all(with_chunk(packed, compression, size));
      CHECK(told.messages.empty());
      REQUIRE(told.contents.damages.size() == 1);
      return told.contents.damages[0].reason;
    };
    CHECK(reason("abc", "", kMostRecord + 1) == "a chunk that says it unpacks to more than 512 MiB");
    CHECK(reason("abc", "", 1000) == "its length differs from what it says");
    CHECK(reason("abc", "brotli", 3) == "unknown compression (known are zstd and lz4)");
    CHECK(reason("abc", "zstd", 3) == "what should be zstd is not");
    Buffer packed;
    REQUIRE(pack(std::vector<std::byte>(1'000'000), 1, 5, packed));
    CHECK(reason(text_of(packed.bytes()), "zstd", 1000) == "zstd: it unpacks to more than it says");
    CHECK(reason(text_of(packed.bytes()), "zstd", 1'000'001) == "zstd: it unpacks to less than it says");
    CHECK(reason(text_of(packed.bytes()).substr(0, 20), "zstd", kMostRecord) ==
          "zstd: so few bytes cannot unpack to so many");

    std::string long_record = with_chunk("", "", 0);
    const std::uint64_t length = UINT64_MAX - 3;
    long_record += '\x06';
    long_record.append(reinterpret_cast<const char*>(&length), sizeof length);
    const Told told = read_all(long_record);
    REQUIRE(told.contents.damages.size() == 1);
    CHECK(told.contents.damages[0].reason == "the file ends within a record of 18446744073709551612 bytes");
  }

  TEST_CASE("what is no recording is refused with its name") {
    CHECK(read_all(std::string("")).refused ==
          "read run.mcap at byte 0: bad input (too short for a recording (MCAP))");
    CHECK(read_all(std::string(100, 'x')).refused ==
          "read run.mcap at byte 0: bad input (this is no recording in the MCAP format)");
  }
}
