// SPDX-License-Identifier: Apache-2.0
// Consumers that give up waiting, and the streams that go on without them.
#include <horus/task/async_stream.hpp>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_any.hpp>

using horus::AsyncStream;
using horus::Error;
using horus::Result;
using horus::Task;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::io::UnixStream;
using namespace horus::literals;

namespace {

template <class T>
Task<std::optional<T>> next_of(AsyncStream<T>& stream) {
  auto value = co_await stream.next();
  co_return value;
}

AsyncStream<int> count_to(int last, horus::Duration pause) {
  for (int i = 1; i <= last; ++i) {
    co_await horus::sleep(pause);
    co_yield i;
  }
}

template <class Body>
void run(Body body) {
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

}  // namespace

TEST_CASE("a time limit on next() leaves a generator alone: every value comes, none twice") {
  run([]() -> Task<> {
    auto numbers = count_to(5, 30_ms);
    std::vector<int> got;
    int late = 0;
    bool ended = false;
    while (!ended) {
      auto next = co_await horus::with_timeout(20_ms, next_of(numbers));
      if (!next) {
        CHECK(next.code() == ETIMEDOUT);
        ++late;
      } else if (*next) {
        got.push_back(**next);
      } else {
        ended = true;
      }
    }
    CHECK(got == std::vector<int>{1, 2, 3, 4, 5});
    CHECK(late >= 5);
    auto after = co_await numbers.next();
    CHECK_FALSE(after.has_value());
  });
}

TEST_CASE("lines that come after a time limit are the next lines, and the limit is no line") {
  run([]() -> Task<> {
    auto [ours, theirs] = UnixStream::pair().or_throw();
    auto lines = ours.lines();
    auto late = co_await horus::with_timeout(10_ms, next_of(lines));
    REQUIRE_FALSE(late.ok());
    CHECK(late.code() == ETIMEDOUT);
    auto written = co_await theirs.write_all("one\ntwo\n");
    REQUIRE(written.ok());
    for (const char* expected : {"one", "two"}) {
      auto line = co_await lines.next();
      REQUIRE(line.has_value());
      REQUIRE(line->ok());
      CHECK(**line == expected);
    }
    theirs.reset();
    auto end = co_await lines.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("a listener's connections go on after a time limit") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto connections = listener.connections();
    for (int i = 0; i < 3; ++i) {
      auto none = co_await horus::with_timeout(5_ms, next_of(connections));
      CHECK(none.code() == ETIMEDOUT);
      auto client = co_await TcpStream::connect(listener.local_address());
      REQUIRE(client.ok());
      auto connection = co_await connections.next();
      REQUIRE(connection.has_value());
      CHECK(connection->ok());
    }
  });
}

TEST_CASE("a loop over two streams at once gets every value of both") {
  run([]() -> Task<> {
    auto fast = count_to(5, 3_ms);
    auto slow = count_to(5, 7_ms);
    int got = 0;
    while (true) {
      std::vector<Task<std::optional<int>>> both;
      both.push_back(next_of(fast));
      both.push_back(next_of(slow));
      auto race = co_await horus::when_any(std::move(both));
      if (race.all_failed()) break;  // both have ended: an end wins no race
      for (auto& outcome : race.outcomes) {
        if (outcome.value && *outcome.value) ++got;
      }
    }
    CHECK(got == 10);
  });
}

TEST_CASE("a consumer that is asked to stop gets ECANCELED, and another one goes on with the stream") {
  run([]() -> Task<> {
    horus::Event gate;
    int reached = 0;
    auto stream = [](horus::Event& opened, int& steps) -> AsyncStream<int> {
      ++steps;
      co_await opened.wait();
      co_yield 42;
    }(gate, reached);
    horus::Scope scope;
    auto first = scope.spawn(next_of(stream));
    co_await horus::yield();
    co_await horus::yield();
    CHECK(reached == 1);
    scope.cancel();
    co_await scope.join();
    CHECK(first.state() == horus::TaskState::cancelled);
    gate.set();
    auto value = co_await stream.next();
    REQUIRE(value.has_value());
    CHECK(*value == 42);
    CHECK(reached == 1);
  });
}

TEST_CASE("a stream of Results tells the request to stop as a failed Result") {
  run([]() -> Task<> {
    auto [ours, theirs] = UnixStream::pair().or_throw();
    auto lines = ours.lines();
    horus::Scope scope;
    auto waiting = scope.spawn(next_of(lines));
    co_await horus::sleep(1_ms);
    scope.cancel();
    co_await scope.join();
    auto line = waiting.take();
    REQUIRE(line.has_value());
    CHECK(line->code() == ECANCELED);
  });
}

TEST_CASE("a stream that is dropped while it waits ends its operation and runs no line of its body") {
  run([]() -> Task<> {
    auto [ours, theirs] = UnixStream::pair().or_throw();
    bool went_on = false;
    std::array<char, 16> room{};
    {
      auto stream = [](UnixStream& from, std::array<char, 16>& into,
                       bool& beyond) -> AsyncStream<std::size_t> {
        while (true) {
          auto read = co_await from.read(horus::io::MutableBytes(into.data(), into.size()));
          beyond = true;
          if (!read) co_return;
          co_yield *read;
        }
      }(ours, room, went_on);
      auto late = co_await horus::with_timeout(5_ms, next_of(stream));
      CHECK(late.code() == ETIMEDOUT);
    }
    co_await horus::sleep(5_ms);
    CHECK_FALSE(went_on);
    // The byte stream is free for others again.
    auto written = co_await theirs.write_all("hello\n");
    REQUIRE(written.ok());
    auto line = co_await ours.read_line();
    REQUIRE(line.ok());
    CHECK(*line == "hello");
  });
}

TEST_CASE("a dropped stream gives back what it had waited for") {
  run([]() -> Task<> {
    horus::Mutex mutex;
    auto lock = co_await mutex.lock();
    {
      auto stream = [](horus::Mutex& wanted) -> AsyncStream<int> {
        auto held = co_await wanted.lock();
        co_yield 1;
      }(mutex);
      auto late = co_await horus::with_timeout(1_ms, next_of(stream));
      CHECK_FALSE(late.ok());
      lock.unlock();  // to the stream, which is dropped before it runs
    }
    auto again = co_await horus::with_timeout(
        1_s, [](horus::Mutex& wanted) -> Task<> { auto held = co_await wanted.lock(); }(mutex));
    CHECK(again.ok());
  });
}

TEST_CASE("close() waits until the stream's operation has left the consumer's memory") {
  run([]() -> Task<> {
    auto [ours, theirs] = UnixStream::pair().or_throw();
    std::array<char, 16> room{};
    std::string ended;
    auto stream = [](UnixStream& from, std::array<char, 16>& into, std::string& how) -> AsyncStream<int> {
      auto read = co_await from.read(horus::io::MutableBytes(into.data(), into.size()));
      how = read ? "data" : read.error().message();
    }(ours, room, ended);
    auto late = co_await horus::with_timeout(5_ms, next_of(stream));
    CHECK_FALSE(late.ok());
    CHECK(ended.empty());
    auto closing = stream.close();
    co_await closing;
    CHECK(ended.find("cancelled") != std::string::npos);
  });
}

TEST_CASE("a dump shows what a stream waits for, with a consumer and without") {
  run([]() -> Task<> {
    auto numbers = count_to(1, 50_ms);
    horus::Scope scope;
    auto waiting = scope.spawn(next_of(numbers), "consumer");
    co_await horus::sleep(1_ms);
    auto dump = horus::dump_tasks();
    CHECK(dump.find("consumer: waits for the next value of a stream") != std::string::npos);
    CHECK(dump.find("stream: waits for a timer") != std::string::npos);
    scope.cancel();
    co_await scope.join();
    dump = horus::dump_tasks();
    CHECK(dump.find("consumer") == std::string::npos);
    CHECK(dump.find("stream: waits for a timer") != std::string::npos);
    static_cast<void>(waiting);
  });
}

TEST_CASE("an exception of the body comes out of next(), also when it was thrown with nobody there") {
  run([]() -> Task<> {
    auto stream = []() -> AsyncStream<int> {
      co_await horus::sleep(10_ms);
      throw Error(EIO, "look", "there");
      co_yield 1;
    }();
    auto late = co_await horus::with_timeout(1_ms, next_of(stream));
    CHECK(late.code() == ETIMEDOUT);
    co_await horus::sleep(20_ms);
    int code = 0;
    try {
      static_cast<void>(co_await stream.next());
    } catch (const Error& error) {
      code = error.code();
    }
    CHECK(code == EIO);
    auto end = co_await stream.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("a time limit says what was awaited, on what, and how long") {
  run([]() -> Task<> {
    auto [ours, theirs] = UnixStream::pair().or_throw();
    auto line = co_await horus::with_timeout(15_ms, ours.read_line());
    REQUIRE_FALSE(line.ok());
    CHECK(line.error().message().starts_with("read "));
    CHECK(line.error().message().ends_with(": timed out after 15 ms"));

    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto accepted = co_await horus::with_timeout(2_ms, listener.accept());
    CHECK(accepted.error().message() ==
          "accept " + listener.local_address().to_string() + ": timed out after 2 ms");

    horus::Event never;
    auto event = co_await horus::with_timeout(
        1_ms, [](horus::Event& awaited) -> Task<> { co_await awaited.wait(); }(never));
    CHECK(event.error().message() == "wait for an event: timed out after 1 ms");

    // A caller that knows more keeps how long it took.
    CHECK(event.error().on("find", "the door").message() == "find the door: timed out after 1 ms");

    horus::Scope scope;
    auto sleeper = scope.spawn([]() -> Task<> { co_await horus::sleep(50_ms); }, "camera");
    auto waited = co_await horus::with_timeout(
        1500_us, [](horus::Spawned<void>& task) -> Task<> { co_await task; }(sleeper));
    CHECK(waited.error().message() == "wait for the task \"camera\": timed out after 1.5 ms");
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("a stream that outlives its reactor ends with it, whatever its body waits for") {
  horus::Event never;
  int stopped = 0;
  const auto waits = [&never, &stopped](bool for_time) -> AsyncStream<int> {
    try {
      if (for_time) {
        co_await horus::sleep(std::chrono::hours(1));
      } else {
        co_await never.wait();
      }
    } catch (const Error& error) {
      stopped += error.cancelled() ? 1 : 0;
      throw;
    }
    co_yield 1;
  };
  // Asked to stop it gives a value, and would sleep behind it.
  const auto goes_on = []() -> AsyncStream<int> {
    bool cancelled = false;
    try {
      co_await horus::sleep(std::chrono::hours(1));
    } catch (const Error& error) {
      cancelled = error.cancelled();
    }
    if (cancelled) co_yield 7;
    co_await horus::sleep(std::chrono::hours(1));
  };
  {
    std::vector<AsyncStream<int>> streams;
    streams.push_back(waits(true));
    streams.push_back(waits(false));
    streams.push_back(goes_on());
    horus::io::run([](std::vector<AsyncStream<int>>& all) -> Task<> {
      for (auto& one : all) {
        auto late = co_await horus::with_timeout(2_ms, next_of(one));
        CHECK(late.code() == ETIMEDOUT);
      }
    }(streams));
    CHECK(stopped == 2);
    horus::io::run([](std::vector<AsyncStream<int>>& all) -> Task<> {
      int code = 0;
      try {
        auto none = co_await all[0].next();
        CHECK_FALSE(none.has_value());
      } catch (const Error& error) {
        code = error.code();
      }
      CHECK(code == ECANCELED);
      auto value = co_await all[2].next();
      CHECK(value == 7);
    }(streams));
  }
  CHECK(horus::live_frames() == 0);
}
