// SPDX-License-Identifier: Apache-2.0
#include <horus/io/chunk_stream.hpp>

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

#include "../support/through_backend.hpp"

namespace io = horus::io;
namespace testing = horus::testing;
using horus::Task;
using namespace horus::literals;

namespace {

struct Pair {
  io::Descriptor a;
  io::Descriptor b;
  Pair() {
    auto ends = testing::socket_pair();
    a = std::move(ends.first);
    b = std::move(ends.second);
  }
};

std::string pattern(std::size_t size) {
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

Task<std::string> read_all(io::ChunkReader& reader, int& error) {
  std::string all;
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) {
      error = chunk.code();
      break;
    }
    all += chunk->text();
  }
  co_return all;
}

}  // namespace

TEST_CASE("chunks arrive in order and the stream ends with end of stream, again and again") {
  auto body = []() -> Task<> {
    io::BufferPool pool(8, 64);
    Pair pair;
    io::ChunkReader reader(pair.a.get(), pool);
    co_await testing::put(pair.b.get(), "hello");
    auto first = co_await reader.next();
    REQUIRE(first.ok());
    CHECK(first->text() == "hello");
    co_await testing::put(pair.b.get(), "world");
    auto second = co_await reader.next();
    CHECK(second->text() == "world");
    pair.b.reset();
    auto end = co_await reader.next();
    CHECK(end.code() == horus::kEndOfStream);
    auto again = co_await reader.next();
    CHECK(again.code() == horus::kEndOfStream);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("an empty pool pauses receiving until a chunk comes back, and loses nothing") {
  auto body = []() -> Task<> {
    io::BufferPool pool(2, 16);
    Pair pair;
    const std::string text = pattern(1000);
    co_await testing::put(pair.b.get(), text);
    pair.b.reset();
    io::ChunkReader reader(pair.a.get(), pool);
    std::vector<io::Chunk> held;
    std::string all;
    while (true) {
      auto chunk = co_await reader.next();
      if (!chunk) {
        CHECK(chunk.code() == horus::kEndOfStream);
        break;
      }
      all += chunk->text();
      held.push_back(*std::move(chunk));
      if (held.size() == 2) {
        CHECK(pool.available() == 0);
        held.clear();
      }
    }
    held.clear();
    CHECK(all == text);
    CHECK(pool.available() == 2);
  };
  io::run(body());
}

TEST_CASE("several readers share one small pool without starving each other") {
  auto body = []() -> Task<> {
    io::BufferPool pool(2, 16);
    const std::string text = pattern(5000);
    std::vector<Pair> pairs(5);
    std::vector<io::ChunkReader> readers;
    std::vector<int> errors(pairs.size(), 0);
    std::vector<Task<std::string>> reads;
    readers.reserve(pairs.size());
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      co_await testing::put(pairs[i].b.get(), text);
      pairs[i].b.reset();
      readers.emplace_back(pairs[i].a.get(), pool);
      reads.push_back(read_all(readers.back(), errors[i]));
    }
    auto all = co_await horus::when_all(std::move(reads));
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      CHECK(all[i] == text);
      CHECK(errors[i] == horus::kEndOfStream);
    }
  };
  io::run(body());
}

TEST_CASE("a reader that is cancelled while it waits loses nothing that comes later") {
  auto body = []() -> Task<> {
    io::BufferPool pool(4, 64);
    Pair pair;
    io::ChunkReader reader(pair.a.get(), pool);
    auto wait = [&]() -> Task<horus::Result<io::Chunk>> {
      auto chunk = co_await reader.next();
      co_return chunk;
    };
    auto waiting = wait();
    auto late = co_await horus::with_timeout(1ms, std::move(waiting));
    CHECK(late.code() == ETIMEDOUT);
    co_await testing::put(pair.b.get(), "after");
    auto chunk = co_await reader.next();
    CHECK(chunk->text() == "after");
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a reader may die with data arrived or a receive armed, and the pool gets its buffers back") {
  auto body = []() -> Task<> {
    io::BufferPool pool(4, 64);
    for (int i = 0; i < 100; ++i) {
      Pair pair;
      io::ChunkReader reader(pair.a.get(), pool);
      co_await testing::put(pair.b.get(), "x");
      auto chunk = co_await reader.next();
      CHECK(chunk->text() == "x");
      if (i % 2 == 0) co_await testing::put(pair.b.get(), "never read");
    }
    co_await horus::sleep(1ms);
    while (pool.available() != 4) co_await horus::yield();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a writer keeps order through a full socket buffer and waits only for room in its queue") {
  auto body = []() -> Task<> {
    io::BufferPool pool(64, 4096);
    Pair in;
    Pair out;
    const int small = 4096;
    CHECK(testing::system().set_option(out.a.get(), SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
    const std::string text = pattern(300'000);
    auto feed = [&]() -> Task<> {
      std::size_t at = 0;
      while (at < text.size()) {
        const int sent = co_await testing::RawWrite(in.b.get(), std::string_view(text).substr(at, 8192),
                                                    MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) at += static_cast<std::size_t>(sent);
        co_await horus::yield();
      }
      in.b.reset();
    };
    auto copy = [&]() -> Task<> {
      io::ChunkReader reader(in.a.get(), pool);
      io::ChunkWriter writer(out.a.get(), 4);
      while (true) {
        auto chunk = co_await reader.next();
        if (!chunk) break;
        auto sent = co_await writer.send(*std::move(chunk));
        CHECK(sent.ok());
      }
      auto flushed = co_await writer.flush();
      CHECK(flushed.ok());
      out.a.reset();
    };
    int error = 0;
    io::BufferPool other(8, 4096);
    io::ChunkReader sink(out.b.get(), other);
    auto drain = read_all(sink, error);
    auto feeding = feed();
    auto copying = copy();
    auto results = co_await horus::when_all(std::move(feeding), std::move(copying), std::move(drain));
    CHECK(std::get<2>(results) == text);
    CHECK(error == horus::kEndOfStream);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a send to a peer that is gone fails the writer, not the process") {
  auto body = []() -> Task<> {
    io::BufferPool pool(8, 64);
    Pair pair;
    Pair dead;
    dead.b.reset();
    co_await horus::sleep(1ms);
    io::ChunkReader reader(pair.a.get(), pool);
    io::ChunkWriter writer(dead.a.get());
    int error = 0;
    for (int i = 0; i < 100 && error == 0; ++i) {
      co_await testing::put(pair.b.get(), "x");
      auto chunk = co_await reader.next();
      auto sent = co_await writer.send(*std::move(chunk));
      error = sent.code();
    }
    CHECK(error == EPIPE);
    auto flushed = co_await writer.flush();
    CHECK(flushed.code() == EPIPE);
  };
  io::run(body());
}

TEST_CASE("pools with impossible sizes are refused") {
  io::Reactor reactor;
  CHECK_THROWS_WITH(io::BufferPool(3, 64),
                    "BufferPool 3 buffers of 64 bytes: a power of two up to 32768: invalid argument");
  CHECK_THROWS_AS(io::BufferPool(4, 0), horus::Error);
}
