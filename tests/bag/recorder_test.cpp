// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/recorder.hpp>

#include <cerrno>
#include <string>
#include <vector>

#include <linux/io_uring.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/bag/reader.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/time.hpp>
#include <horus/sim/faulty.hpp>

#include "../support/through_backend.hpp"
#include "records.hpp"

using horus::Scope;
using horus::Task;
using namespace horus::bag;
using namespace horus::literals;
using horus::testing::bytes_of;
using horus::testing::Folder;

namespace {

struct Told {
  std::vector<std::uint64_t> times;
  Contents contents;
  Properties losses;
};

Task<Told> told_of(std::string path) {
  Told told;
  auto reader = co_await Reader::open(std::move(path));
  REQUIRE_MESSAGE(reader, (reader ? "" : reader.error().message()));
  told.contents = reader->contents();
  while (true) {
    const auto message = co_await reader->next();
    if (!message) break;
    told.times.push_back(message->log_ns);
  }
  for (const auto& index : told.contents.metadata) {
    const auto metadata = co_await reader->metadata(index);
    REQUIRE(metadata);
    if (metadata->name == "horus.losses") told.losses = metadata->values;
  }
  co_return told;
}

std::vector<std::uint64_t> counted(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = first; i <= last; ++i) all.push_back(i);
  return all;
}

Message message(std::uint16_t channel, std::uint64_t log_ns, std::string_view data = "{}") {
  Message made;
  made.channel = channel;
  made.log_ns = log_ns;
  made.publish_ns = log_ns;
  made.data = bytes_of(data);
  return made;
}

// Runs it on a reactor whose n-th operation of a kind goes wrong.
template <class Body>
void through_fault(const horus::sim::Injection& injection, Body& body) {
  horus::sim::InjectionRecord record;
  const horus::io::ReactorConfig config;
  horus::io::Reactor reactor(
      horus::sim::make_faulty_backend(horus::io::make_usual_backend(config).or_throw(), injection, record),
      config);
  reactor.run(body());
  CHECK(record.fired);
}

RecorderOptions small_chunks() {
  RecorderOptions options;
  options.writer.chunk_bytes = 1000;
  return options;
}

}  // namespace

TEST_SUITE("bag/recorder") {
  TEST_CASE("what is recorded is in the file, with an index, after stop") {
    Folder folder;
    auto body = [&]() -> Task<> {
      const std::string path = folder / "run.mcap";
      Recorder recorder(path, small_chunks());
      const auto schema = recorder.add_schema("Status", "jsonschema", "{}").or_throw();
      const auto channel = recorder.add_channel("/status", "json", schema).or_throw();
      REQUIRE(recorder.add(Metadata{"horus.clock", {{"source", "test"}}}));
      REQUIRE(recorder.add(Attachment{1, 1, "rover.toml", "application/toml", "a = 1"}));
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      for (std::uint64_t i = 1; i <= 200; ++i) CHECK(recorder.record(message(channel, i)));
      recorder.stop();
      CHECK(!recorder.record(message(channel, 201)));
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
      const auto refused = co_await recorder.snapshot(folder / "snapshot.mcap");
      CHECK(refused.code() == EINVAL);
      CHECK(recorder.counts().recorded == 200);
      CHECK(recorder.counts().written == 200);
      CHECK(recorder.counts().lost == 1);
      const Told told = co_await told_of(path);
      CHECK(told.contents.indexed);
      CHECK(told.contents.chunks.size() > 5);
      CHECK(told.times == counted(1, 200));
      CHECK(told.contents.attachments.size() == 1);
      CHECK(told.contents.metadata.size() == 2);
      CHECK(told.losses == Properties{{"/status", "1"}});
      CHECK(told.contents.file_bytes == recorder.counts().bytes);
    };
    horus::io::run(body());
  }

  TEST_CASE("a chunk that does not fill is written after its time") {
    Folder folder;
    auto body = [&]() -> Task<> {
      RecorderOptions options;
      options.writer.chunk_ns = 20'000'000;
      const std::string path = folder / "run.mcap";
      Recorder recorder(path, options);
      const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      recorder.record(message(channel, 1));
      while (recorder.counts().written == 0) co_await horus::sleep(5ms);
      // As after a kill: no index yet, and the message is there.
      const Told told = co_await told_of(path);
      CHECK(!told.contents.indexed);
      CHECK(told.times == counted(1, 1));
      recorder.stop();
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
    };
    horus::io::run(body());
  }

  TEST_CASE("messages beyond the queue are lost, and counted by topic in the file") {
    Folder folder;
    auto body = [&]() -> Task<> {
      RecorderOptions options = small_chunks();
      options.queue_bytes = 3000;
      const std::string path = folder / "run.mcap";
      Recorder recorder(path, options);
      const auto left = recorder.add_channel("/left", "json", 0).or_throw();
      const auto right = recorder.add_channel("/right", "json", 0).or_throw();
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      std::uint64_t taken = 0;
      for (std::uint64_t i = 1; i <= 100; ++i)
        taken += recorder.record(message(i % 4 == 0 ? right : left, i)) ? 1 : 0;
      CHECK(taken < 100);
      CHECK(taken > 50);
      CHECK(!recorder.record(message(left, 101, std::string(4000, 'x'))));
      recorder.stop();
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
      const auto losses = recorder.losses();
      CHECK(losses.at("/left") + losses.at("/right") == 101 - taken);
      const Told told = co_await told_of(path);
      CHECK(told.times == counted(1, taken));
      CHECK(told.losses == Properties{{"/left", std::to_string(losses.at("/left"))},
                                      {"/right", std::to_string(losses.at("/right"))}});
    };
    horus::io::run(body());
  }

  TEST_CASE("a file that is large enough is followed by a further one that stands alone") {
    Folder folder;
    auto body = [&]() -> Task<> {
      RecorderOptions options = small_chunks();
      options.writer.compression = Compression::none;
      options.most_bytes = 3000;
      Recorder recorder(folder / "run.mcap", options);
      const auto schema = recorder.add_schema("Status", "jsonschema", "{}").or_throw();
      const auto channel = recorder.add_channel("/status", "json", schema).or_throw();
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      for (std::uint64_t i = 1; i <= 300; ++i) CHECK(recorder.record(message(channel, i)));
      recorder.stop();
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
      CHECK(recorder.counts().files > 2);
      std::vector<std::uint64_t> times;
      for (std::uint64_t number = 0; number < recorder.counts().files; ++number) {
        const std::string name = number == 0 ? "run.mcap" : fmt::format("run_{}.mcap", number);
        const Told told = co_await told_of(folder / name);
        CHECK(told.contents.indexed);
        CHECK(told.contents.file_bytes < 6000);
        CHECK(told.contents.schemas.at(schema).name == "Status");
        times.insert(times.end(), told.times.begin(), told.times.end());
        // Without its index too: the channels are in the data.
        ReaderOptions scanning;
        scanning.ignore_index = true;
        auto again = co_await Reader::open(folder / name, scanning);
        REQUIRE(again);
        CHECK(again->contents().statistics.messages == told.times.size());
        CHECK(again->contents().damages.empty());
      }
      CHECK(times == counted(1, 300));
    };
    horus::io::run(body());
  }

  TEST_CASE("a snapshot has the messages of the last time, and stands alone") {
    Folder folder;
    auto body = [&]() -> Task<> {
      RecorderOptions options = small_chunks();
      options.snapshot = std::chrono::nanoseconds(100);
      Recorder recorder(folder / "unused.mcap", options);
      const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
      REQUIRE(recorder.add(Metadata{"horus.clock", {{"source", "test"}}}));
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      for (std::uint64_t i = 1; i <= 1000; ++i) CHECK(recorder.record(message(channel, i)));
      const auto first = co_await recorder.snapshot(folder / "first.mcap");
      CHECK(first);
      for (std::uint64_t i = 1001; i <= 1020; ++i) CHECK(recorder.record(message(channel, i)));
      const auto second = co_await recorder.snapshot(folder / "second.mcap");
      CHECK(second);
      recorder.stop();
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
      const Told early = co_await told_of(folder / "first.mcap");
      CHECK(early.times.back() == 1000);
      CHECK(early.times.front() <= 900);
      CHECK(early.times.front() > 800);
      CHECK(early.times == counted(early.times.front(), 1000));
      const Told late = co_await told_of(folder / "second.mcap");
      CHECK(late.times == counted(late.times.front(), 1020));
      CHECK(late.contents.metadata.size() == 1);
      const auto none = co_await horus::io::fs::exists(folder / "unused.mcap");
      CHECK(!*none);
      const auto after = co_await recorder.snapshot(folder / "third.mcap");
      CHECK(after);
      const Told last = co_await told_of(folder / "third.mcap");
      CHECK(last.times == late.times);
    };
    horus::io::run(body());
  }

  TEST_CASE("a file that exists is not replaced unless that is wanted") {
    Folder folder;
    auto body = [&]() -> Task<> {
      const std::string path = folder / "run.mcap";
      for (const bool overwrite : {false, false, true}) {
        RecorderOptions options;
        options.overwrite = overwrite;
        Recorder recorder(path, options);
        const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
        recorder.record(message(channel, 1));
        recorder.stop();
        const bool exists = *co_await horus::io::fs::exists(path);
        const auto ended = co_await recorder.run();
        CHECK(ended.code() == (exists && !overwrite ? EEXIST : 0));
        CHECK(recorder.counts().lost == (exists && !overwrite ? 1 : 0));
      }
    };
    horus::io::run(body());
  }

  TEST_CASE("a disk that is full ends the recording, and the file has its whole chunks and an index") {
    Folder folder;
    const std::string path = folder / "run.mcap";
    auto body = [&]() -> Task<> {
      RecorderOptions options = small_chunks();
      options.writer.compression = Compression::none;
      Recorder recorder(path, options);
      const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      for (std::uint64_t i = 1; i <= 200; ++i) recorder.record(message(channel, i));
      const auto ended = co_await writing;
      CHECK(ended.code() == ENOSPC);
      CHECK(ended.error().message().find("run.mcap") != std::string::npos);
      co_await scope.join();
      const std::uint64_t kept = recorder.counts().written;
      CHECK(kept > 0);
      CHECK(kept + recorder.counts().lost == 200);
      CHECK(!recorder.record(message(channel, 201)));
      const Told told = co_await told_of(path);
      CHECK(told.contents.indexed);
      CHECK(told.times == counted(1, kept));
      CHECK(told.losses == Properties{{"/status", std::to_string(200 - kept)}});
    };
    // The file's first bytes, two chunks, and a failure.
    through_fault({.nth = 4, .opcode = IORING_OP_WRITE, .error = ENOSPC}, body);
  }

  TEST_CASE("a write that is cut short is continued") {
    Folder folder;
    auto body = [&]() -> Task<> {
      Recorder recorder(folder / "run.mcap", small_chunks());
      const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
      for (std::uint64_t i = 1; i <= 100; ++i) recorder.record(message(channel, i));
      recorder.stop();
      const auto ended = co_await recorder.run();
      CHECK(ended);
      const Told told = co_await told_of(folder / "run.mcap");
      CHECK(told.times == counted(1, 100));
      CHECK(told.contents.damages.empty());
    };
    through_fault({.nth = 2, .opcode = IORING_OP_WRITE, .shorten_to = 7}, body);
  }

  TEST_CASE("a slow disk costs messages, never the recorder's caller, and what is written is whole") {
    Folder folder;
    auto body = [&]() -> Task<> {
      RecorderOptions options = small_chunks();
      options.queue_bytes = 4000;
      Recorder recorder(folder / "run.mcap", options);
      const auto channel = recorder.add_channel("/status", "json", 0).or_throw();
      Scope scope;
      auto writing = scope.spawn(recorder.run());
      std::vector<std::uint64_t> taken;
      for (std::uint64_t i = 1; recorder.counts().lost == 0; ++i) {
        if (recorder.record(message(channel, i))) taken.push_back(i);
        if (i % 50 == 0) co_await horus::sleep(1ms);
      }
      // Room again, once the disk answers.
      while (!recorder.record(message(channel, 1'000'000))) co_await horus::sleep(5ms);
      taken.push_back(1'000'000);
      recorder.stop();
      const auto ended = co_await writing;
      CHECK(ended);
      co_await scope.join();
      const Told told = co_await told_of(folder / "run.mcap");
      CHECK(told.times == taken);
      CHECK(told.losses == Properties{{"/status", std::to_string(recorder.counts().lost)}});
    };
    through_fault({.nth = 3, .opcode = IORING_OP_WRITE, .delay = 100ms}, body);
  }
}
