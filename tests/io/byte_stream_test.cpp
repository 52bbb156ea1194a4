// SPDX-License-Identifier: Apache-2.0
#include <horus/io/byte_stream.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Bytes;
using horus::io::ByteStream;
using horus::io::Descriptor;
using horus::io::MutableBytes;
using namespace horus::literals;
namespace testing = horus::testing;

namespace {

struct PipeEnds {
  ByteStream reader, writer;
  PipeEnds() {
    int ends[2];
    REQUIRE(horus::io::Reactor::current()->system().pipe(ends, O_CLOEXEC) == 0);
    reader = ByteStream(Descriptor(ends[0]), "a pipe");
    writer = ByteStream(Descriptor(ends[1]), "a pipe");
  }
};

std::string counted(std::size_t size) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 26);
  return text;
}

// Writes `text` in pieces, letting the reader run between them.
Task<> write_in_pieces(ByteStream& writer, std::string text, std::size_t piece) {
  for (std::size_t at = 0; at < text.size(); at += piece) {
    auto writing = writer.write_all(std::string_view(text).substr(at, piece));
    auto written = co_await writing;
    CHECK(written.ok());
    co_await horus::yield();
  }
  writer.reset();
}

// Runs `body` on a reactor of its own and checks that nothing is left behind.
template <class Body>
void run(Body body) {
  const int before = testing::open_descriptors();
  horus::io::run(body());
  CHECK(testing::open_descriptors() == before);
  CHECK(horus::live_frames() == 0);
}

}  // namespace

TEST_CASE("bytes that arrive in pieces of every length are read exactly") {
  run([]() -> Task<> {
    const std::string text = counted(40);
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
      for (std::size_t size : {std::size_t{1}, std::size_t{3}, std::size_t{7}, std::size_t{40}}) {
        PipeEnds pipe;
        horus::Scope scope;
        auto writing = scope.spawn(write_in_pieces(pipe.writer, text, piece));
        std::string seen;
        while (seen.size() + size <= text.size()) {
          std::string chunk(size, '?');
          auto read = co_await pipe.reader.read_exact(chunk);
          REQUIRE(read.ok());
          seen += chunk;
        }
        CHECK(seen == text.substr(0, seen.size()));
        co_await writing;
        auto rest = co_await pipe.reader.read_all();
        CHECK(*rest == text.substr(seen.size()));
      }
    }
  });
}

TEST_CASE("a delimiter is found wherever the pieces cut it") {
  run([]() -> Task<> {
    const std::string text = "GET / HTTP/1.1\r\n\r\nbody\r\n\r\n";
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
      PipeEnds pipe;
      horus::Scope scope;
      auto writing = scope.spawn(write_in_pieces(pipe.writer, text, piece));
      auto head = co_await pipe.reader.read_until("\r\n\r\n");
      CHECK(*head == "GET / HTTP/1.1\r\n\r\n");
      auto body = co_await pipe.reader.read_until("\r\n\r\n", 8);
      CHECK(*body == "body\r\n\r\n");
      auto end = co_await pipe.reader.read_until("\r\n\r\n");
      CHECK(end.code() == horus::kEndOfStream);
      co_await writing;
    }
  });
}

TEST_CASE("lines lose their ends, a last line without one counts, then the stream ends") {
  run([]() -> Task<> {
    const std::string text = "one\ntwo\r\n\n\r\nfi\rve\nlast";
    const std::vector<std::string> expected = {"one", "two", "", "", "fi\rve", "last"};
    for (std::size_t piece = 1; piece <= text.size(); ++piece) {
      PipeEnds pipe;
      horus::Scope scope;
      auto writing = scope.spawn(write_in_pieces(pipe.writer, text, piece));
      auto lines = pipe.reader.lines();
      std::vector<std::string> seen;
      while (true) {
        auto line = co_await lines.next();
        if (!line) break;
        REQUIRE(line->ok());
        seen.push_back(**line);
      }
      CHECK(seen == expected);
      co_await writing;
      auto after = co_await pipe.reader.read_line();
      CHECK(after.code() == horus::kEndOfStream);
    }
  });
}

TEST_CASE("a line that is too long is dropped as a whole and the next one is read") {
  run([]() -> Task<> {
    for (std::size_t length = 3; length <= 12; ++length) {
      for (const char* ending : {"\n", "\r\n"}) {
        const std::string text = counted(length) + ending + "next\n" + counted(length);
        for (std::size_t piece = 1; piece <= text.size(); ++piece) {
          CAPTURE(length);
          CAPTURE(piece);
          PipeEnds pipe;
          horus::Scope scope;
          auto writing = scope.spawn(write_in_pieces(pipe.writer, text, piece));
          auto first = co_await pipe.reader.read_line(6);
          CHECK(first.code() == (length <= 6 ? 0 : EMSGSIZE));
          auto second = co_await pipe.reader.read_line(6);
          REQUIRE(second.ok());
          CHECK(*second == "next");
          auto third = co_await pipe.reader.read_line(6);
          CHECK(third.code() == (length <= 6 ? 0 : EMSGSIZE));
          auto end = co_await pipe.reader.read_line(6);
          CHECK(end.code() == horus::kEndOfStream);
          co_await writing;
        }
      }
    }
  });
}

TEST_CASE("lines longer than the buffer limit are read when the call allows them") {
  run([]() -> Task<> {
    PipeEnds pipe;
    pipe.reader.set_buffer_limit(16);
    const std::string text = counted(200'000);
    horus::Scope scope;
    auto writing = scope.spawn(write_in_pieces(pipe.writer, text + "\n" + text + "\n", 60'000));
    auto line = co_await pipe.reader.read_line(200'000);
    CHECK(*line == text);
    auto too_long = co_await pipe.reader.read_line(199'999);
    CHECK(too_long.code() == EMSGSIZE);
    auto end = co_await pipe.reader.read_line();
    CHECK(end.code() == horus::kEndOfStream);
    co_await writing;
  });
}

TEST_CASE("a buffered line is given without suspending") {
  run([]() -> Task<> {
    PipeEnds pipe;
    auto written = co_await pipe.writer.write_all("a\nb\nc\n");
    CHECK(written.ok());
    auto first = co_await pipe.reader.read_line();
    const auto before = horus::io::Reactor::current()->statistics().operations;
    auto second = co_await pipe.reader.read_line();
    auto third = co_await pipe.reader.read_line();
    CHECK(*first + *second + *third == "abc");
    CHECK(horus::io::Reactor::current()->statistics().operations == before);
  });
}

TEST_CASE("what a failed read had received stays in the stream") {
  run([]() -> Task<> {
    PipeEnds pipe;
    auto written = co_await pipe.writer.write_all("abcdefg");
    CHECK(written.ok());
    std::string ten(10, '?');
    std::string large(10'000, '?');
    auto late = co_await horus::with_timeout(1ms, pipe.reader.read_exact(ten));
    CHECK(late.code() == ETIMEDOUT);
    late = co_await horus::with_timeout(1ms, pipe.reader.read_exact(large));
    CHECK(late.code() == ETIMEDOUT);
    auto until = co_await horus::with_timeout(1ms, pipe.reader.read_until("\n"));
    CHECK(until.code() == ETIMEDOUT);
    auto line = co_await horus::with_timeout(1ms, pipe.reader.read_line());
    CHECK(line.code() == ETIMEDOUT);
    auto all = co_await horus::with_timeout(1ms, pipe.reader.read_all());
    CHECK(all.code() == ETIMEDOUT);
    auto short_limit = co_await pipe.reader.read_until("\n", 7);
    CHECK(short_limit.code() == EMSGSIZE);
    pipe.writer.reset();
    auto end = co_await pipe.reader.read_exact(large);
    CHECK(end.code() == horus::kEndOfStream);
    auto too_much = co_await pipe.reader.read_all(6);
    CHECK(too_much.code() == EMSGSIZE);
    auto rest = co_await pipe.reader.read_all(7);
    CHECK(*rest == "abcdefg");
    auto nothing = co_await pipe.reader.read_all(0);
    CHECK(*nothing == "");
    auto over = co_await pipe.reader.read(ten);
    CHECK(over.code() == horus::kEndOfStream);
  });
}

TEST_CASE("a read gives what there is, buffered bytes first") {
  run([]() -> Task<> {
    PipeEnds pipe;
    auto written = co_await pipe.writer.write_all("line\nabcdef");
    CHECK(written.ok());
    auto line = co_await pipe.reader.read_line();
    CHECK(*line == "line");
    CHECK(pipe.reader.buffered() == 6);
    std::array<char, 4> four;
    auto count = co_await pipe.reader.read(four);
    CHECK(*count == 4);
    std::array<char, 4> more;
    const MutableBytes parts[] = {MutableBytes(four.data(), 1), more};
    count = co_await pipe.reader.read(parts);
    CHECK(*count == 2);
    CHECK(four[0] == 'e');
    CHECK(more[0] == 'f');
    written = co_await pipe.writer.write_all("xyz");
    count = co_await pipe.reader.read(parts);
    CHECK(*count == 3);
    CHECK(four[0] == 'x');
    CHECK(std::string(more.data(), 2) == "yz");
    count = co_await pipe.reader.read(MutableBytes());
    CHECK(*count == 0);
  });
}

TEST_CASE("a second reader is refused, and the first is not disturbed") {
  run([]() -> Task<> {
    PipeEnds pipe;
    horus::Scope scope;
    auto reading = scope.spawn(pipe.reader.read_line());
    co_await horus::yield();
    std::array<char, 4> four;
    auto refused = co_await pipe.reader.read(four);
    CHECK(refused.code() == EBUSY);
    CHECK(refused.error().message().find("another task is reading") != std::string::npos);
    auto refused_line = co_await pipe.reader.read_line();
    CHECK(refused_line.code() == EBUSY);
    auto written = co_await pipe.writer.write_all("x\n");
    CHECK(written.ok());
    auto line = co_await reading;
    CHECK(*line == "x");
  });
}

TEST_CASE("the bytes of concurrent writes never interleave and keep their order") {
  run([]() -> Task<> {
    PipeEnds pipe;
    horus::Scope scope;
    constexpr std::size_t kSize = 200'000;  // more than a pipe holds
    for (char letter : {'a', 'b', 'c'}) {
      static_cast<void>(scope.spawn(pipe.writer.write_all(std::string(kSize, letter))));
    }
    co_await horus::yield();
    auto refused = co_await pipe.writer.write("z");
    CHECK(refused.code() == EBUSY);
    for (char letter : {'a', 'b', 'c'}) {
      std::string chunk(kSize, '?');
      auto read = co_await pipe.reader.read_exact(chunk);
      CHECK(read.ok());
      CHECK(chunk == std::string(kSize, letter));
    }
    co_await scope.join();
  });
}

TEST_CASE("gathered parts arrive in order, however many and however short the writes") {
  run([]() -> Task<> {
    PipeEnds pipe;
    std::vector<std::string> texts;
    std::string whole;
    for (std::size_t i = 0; i < 50; ++i) {
      texts.push_back(counted(i * i * 7));
      whole += texts.back();
    }
    const std::vector<Bytes> parts(texts.begin(), texts.end());
    horus::Scope scope;
    auto writing = scope.spawn(pipe.writer.write_all(parts));
    std::string seen(whole.size(), '?');
    auto read = co_await pipe.reader.read_exact(seen);
    CHECK(read.ok());
    CHECK(seen == whole);
    auto written = co_await writing;
    CHECK(written.ok());
  });
}

TEST_CASE("a write without a reader is an error value that says where") {
  run([]() -> Task<> {
    PipeEnds pipe;
    auto closed = co_await pipe.reader.close();
    CHECK(closed.ok());
    auto written = co_await pipe.writer.write_all("x");
    CHECK(written.code() == EPIPE);
    CHECK(written.error().message().starts_with("write a pipe: broken pipe"));
    auto shutdown = co_await pipe.writer.shutdown_write();
    CHECK(shutdown.code() == ENOTSOCK);
  });
}

TEST_CASE("a cancelled write says how much it had sent") {
  run([]() -> Task<> {
    PipeEnds pipe;
    auto late = co_await horus::with_timeout(1ms, pipe.writer.write_all(std::string(1'000'000, 'x')));
    CHECK(late.code() == ETIMEDOUT);
    horus::Scope scope;
    auto writing = scope.spawn(pipe.writer.write_all(std::string(1'000'000, 'x')));
    co_await horus::yield();
    writing.cancel();
    auto cancelled = co_await writing;
    CHECK(cancelled.code() == ECANCELED);
  });
}

TEST_CASE("closing, assigning to or destroying a stream ends the calls of others with ECANCELED") {
  run([]() -> Task<> {
    for (int way = 0; way < 3; ++way) {
      CAPTURE(way);
      PipeEnds pipe;
      PipeEnds second;
      horus::Scope scope;
      std::array<char, 4> four;
      auto raw = scope.spawn(pipe.reader.read(four).as_task());
      auto line = scope.spawn(second.reader.read_line());
      auto writing = scope.spawn(pipe.writer.write_all(std::string(1'000'000, 'x')));
      auto queued = scope.spawn(pipe.writer.write_all("later"));
      auto first = co_await raw;
      CHECK(*first == 4);
      if (way == 0) {
        auto closed = co_await second.reader.close();
        CHECK(closed.ok());
        closed = co_await pipe.writer.close();
        CHECK(closed.ok());
      } else if (way == 1) {
        second.reader = ByteStream();
        pipe.writer = ByteStream();
      } else {
        {
          const ByteStream moved = std::move(second.reader);
        }
        {
          const ByteStream moved = std::move(pipe.writer);
        }
      }
      auto lost = co_await line;
      CHECK(lost.code() == ECANCELED);
      auto cut = co_await writing;
      CHECK(cut.code() == ECANCELED);
      CHECK(cut.error().message().find("of 1000000 bytes") != std::string::npos);
      auto never = co_await queued;
      CHECK(never.code() == ECANCELED);
      auto empty = co_await second.reader.read_line();
      CHECK(empty.code() == EBADF);
      auto none = co_await pipe.writer.write_all("x");
      CHECK(none.code() == EBADF);
      auto nobody = co_await pipe.writer.write("x");
      CHECK(nobody.code() == EBADF);
    }
  });
}

TEST_CASE("a stream may move while it is read") {
  run([]() -> Task<> {
    PipeEnds pipe;
    horus::Scope scope;
    auto reading = scope.spawn(pipe.reader.read_line());
    co_await horus::yield();
    ByteStream elsewhere = std::move(pipe.reader);
    auto written = co_await pipe.writer.write_all("still here\n");
    CHECK(written.ok());
    auto line = co_await reading;
    CHECK(*line == "still here");
    CHECK(elsewhere.is_open());
    CHECK_FALSE(pipe.reader.is_open());
  });
}

TEST_CASE("the reader of a reused descriptor number never gets the old stream's bytes") {
  run([]() -> Task<> {
    for (int round = 0; round < 50; ++round) {
      PipeEnds old;
      horus::Scope scope;
      auto reading = scope.spawn(old.reader.read_line());
      if (round % 2 == 0) co_await horus::yield();
      auto closed = co_await old.reader.close();
      CHECK(closed.ok());
      PipeEnds fresh;
      auto written = co_await fresh.writer.write_all("fresh\n");
      CHECK(written.ok());
      auto line = co_await fresh.reader.read_line();
      CHECK(*line == "fresh");
      auto lost = co_await reading;
      CHECK_FALSE(lost.ok());
    }
  });
}

TEST_CASE("a cancelled read loses no byte, whoever wins") {
  run([]() -> Task<> {
    PipeEnds pipe;
    std::string seen, sent;
    for (int round = 0; round < 200; ++round) {
      horus::Scope scope;
      std::array<char, 8> bytes;
      auto reading = scope.spawn(pipe.reader.read(bytes).as_task());
      co_await horus::yield();
      const std::string text(1, static_cast<char>('a' + round % 26));
      sent += text;
      auto writing = scope.spawn(pipe.writer.write_all(text));
      for (int i = 0; i < round % 4; ++i) co_await horus::yield();
      reading.cancel();
      auto count = co_await reading;
      if (count) seen.append(bytes.data(), *count);
      auto written = co_await writing;
      CHECK(written.ok());
    }
    pipe.writer.reset();
    auto rest = co_await pipe.reader.read_all();
    CHECK(seen + *rest == sent);
  });
}

TEST_CASE("a shared descriptor keeps its flags and works blocking or not") {
  run([]() -> Task<> {
    for (const int flags : {0, O_NONBLOCK}) {
      auto ends = testing::pipe_ends(flags);
      ByteStream reader(std::move(ends.first), "stdin", horus::io::Ownership::shared);
      ByteStream writer(std::move(ends.second), "stdout", horus::io::Ownership::shared);
      horus::Scope scope;
      auto reading = scope.spawn(reader.read_line());
      co_await horus::yield();
      auto written = co_await writer.write("hello\n");
      CHECK(*written == 6);
      auto line = co_await reading;
      CHECK(*line == "hello");
      std::array<char, 4> four;
      auto raw = scope.spawn(reader.read(four).as_task());
      co_await horus::yield();
      const Bytes parts[] = {"a", "b"};
      auto gathered = co_await writer.write_all(parts);
      CHECK(gathered.ok());
      auto count = co_await raw;
      CHECK(*count == 2);
      CHECK((testing::system().status_flags(reader.fd()) & O_NONBLOCK) == flags);
    }
  });
}

TEST_CASE("an exclusive descriptor that is non-blocking after all is waited for") {
  run([]() -> Task<> {
    auto ends = testing::pipe_ends(O_NONBLOCK);
    ByteStream reader(std::move(ends.first));
    ByteStream writer(std::move(ends.second));
    horus::Scope scope;
    auto reading = scope.spawn(reader.read_line());
    auto writing = scope.spawn(writer.write_all(std::string(300'000, 'x') + "\nnext\n"));
    auto line = co_await reading;
    CHECK(line.code() == EMSGSIZE);
    line = co_await reader.read_line();
    CHECK(*line == "next");
    auto written = co_await writing;
    CHECK(written.ok());
  });
}

TEST_CASE("release gives the descriptor away") {
  run([]() -> Task<> {
    PipeEnds pipe;
    Descriptor end = pipe.reader.release();
    CHECK(end.get() >= 0);
    CHECK_FALSE(pipe.reader.is_open());
    ByteStream again(std::move(end));
    auto written = co_await pipe.writer.write_all(std::string_view("x\n"));
    CHECK(written.ok());
    auto line = co_await again.read_line();
    CHECK(*line == "x");
  });
}
