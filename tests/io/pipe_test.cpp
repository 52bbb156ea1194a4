// SPDX-License-Identifier: Apache-2.0
#include <horus/io/pipe.hpp>

#include <string>

#include <fcntl.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Fifo;
using horus::io::FifoEnd;
using horus::io::PipeReader;
using horus::io::PipeWriter;
using horus::testing::Folder;
using namespace horus::literals;
namespace io = horus::io;

namespace {

Task<Result<std::string>> line_of(PipeReader& reader) {
  auto line = co_await reader.read_line();
  co_return line;
}

}  // namespace

TEST_CASE("what goes into a pipe comes out of it, and then the end") {
  auto body = []() -> Task<> {
    auto [reader, writer] = io::make_pipe().or_throw();
    auto writing = writer.write_all("first\nsecond");
    auto written = co_await writing;
    CHECK(written.ok());
    auto closing = writer.close();
    auto closed = co_await closing;
    CHECK(closed.ok());
    auto first = co_await reader.read_line();
    CHECK(*first == "first");
    auto second = co_await reader.read_line();
    CHECK(*second == "second");
    auto end = co_await reader.read_line();
    CHECK(end.code() == horus::kEndOfStream);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a write larger than the pipe waits for the reader") {
  auto body = []() -> Task<> {
    auto [reader, writer] = io::make_pipe().or_throw();
    const std::string much(1'000'000, 'x');
    horus::Scope scope;
    auto writing = scope.spawn(writer.write_all(io::Bytes(much)));
    co_await horus::sleep(1ms);
    CHECK_FALSE(writing.done());
    std::string got(much.size(), '\0');
    auto reading = reader.read_exact(got);
    auto read = co_await reading;
    CHECK(read.ok());
    CHECK(got == much);
    auto written = co_await writing;
    CHECK(written.ok());
    co_await scope.join();
  };
  io::run(body());
}

TEST_CASE("writing to a pipe without a reader is EPIPE, not the end of the program") {
  auto body = []() -> Task<> {
    auto [reader, writer] = io::make_pipe().or_throw();
    auto closing = reader.close();
    auto closed = co_await closing;
    CHECK(closed.ok());
    auto writing = writer.write_all("anybody?");
    auto refused = co_await writing;
    CHECK(refused.code() == EPIPE);
  };
  io::run(body());
}

TEST_CASE("a reader that goes away ends a pending write with EPIPE") {
  auto body = []() -> Task<> {
    auto [reader, writer] = io::make_pipe().or_throw();
    const std::string much(1'000'000, 'x');
    horus::Scope scope;
    auto writing = scope.spawn(writer.write_all(io::Bytes(much)));
    co_await horus::sleep(1ms);
    reader = PipeReader();
    auto ended = co_await writing;
    CHECK(ended.code() == EPIPE);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a FIFO opened for reading waits for its first writer without stopping the loop") {
  const Folder folder;
  auto body = [&]() -> Task<> {
    const std::string path = folder / "fifo";
    auto making = Fifo::create(path);
    auto made = co_await making;
    REQUIRE(made.ok());
    horus::Scope scope;
    auto opening = scope.spawn(Fifo::open_read(path));
    co_await horus::sleep(2ms);  // the loop runs meanwhile
    CHECK_FALSE(opening.done());
    auto writer_opening = Fifo::open_write(path);
    auto writer = (co_await writer_opening).or_throw();
    auto writing = writer.write_all("hello\n");
    auto written = co_await writing;
    CHECK(written.ok());
    auto reader = (co_await opening).or_throw();
    auto line = co_await reader.read_line();
    CHECK(*line == "hello");
    writer = PipeWriter();
    auto end = co_await reader.read_line();
    CHECK(end.code() == horus::kEndOfStream);
    CHECK(end.error().target().find(path) != std::string_view::npos);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a writer waits for a reader, and gives up when its time is over") {
  const Folder folder;
  auto body = [&]() -> Task<> {
    const std::string path = folder / "fifo";
    auto making = Fifo::create(path);
    auto made = co_await making;
    REQUIRE(made.ok());
    auto late = co_await horus::with_timeout(8ms, Fifo::open_write(path));
    CHECK(late.code() == ETIMEDOUT);
    auto nobody = co_await horus::with_timeout(2ms, Fifo::open_read(path));
    CHECK(nobody.code() == ETIMEDOUT);
    horus::Scope scope;
    auto opening = scope.spawn(Fifo::open_write(path));
    auto reading = scope.spawn(Fifo::open_read(path));
    auto writer = (co_await opening).or_throw();
    writer = PipeWriter();  // without a byte
    auto reader = (co_await reading).or_throw();
    auto end = co_await reader.read_line();
    CHECK(end.code() == horus::kEndOfStream);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a FIFO that stays open outlives its writers") {
  const Folder folder;
  auto body = [&]() -> Task<> {
    const std::string path = folder / "commands";
    auto making = Fifo::create(path);
    auto made = co_await making;
    REQUIRE(made.ok());
    auto opening = Fifo::open_read(path, FifoEnd::stays);
    auto commands = (co_await opening).or_throw();
    for (const char* command : {"go\n", "stop\n"}) {
      auto writer_opening = Fifo::open_write(path);
      auto writer = (co_await writer_opening).or_throw();
      auto writing = writer.write_all(command);
      auto written = co_await writing;
      CHECK(written.ok());
      auto closing = writer.close();
      auto closed = co_await closing;
      CHECK(closed.ok());
      auto line = co_await commands.read_line();
      REQUIRE(line.ok());
      CHECK(*line + "\n" == command);
    }
    auto silence = co_await horus::with_timeout(2ms, line_of(commands));
    CHECK(silence.code() == ETIMEDOUT);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("what cannot be opened says its path") {
  const Folder folder;
  auto body = [&]() -> Task<> {
    auto missing_task = Fifo::open_read(folder / "missing");
    auto missing = co_await missing_task;
    CHECK(missing.code() == ENOENT);
    CHECK(missing.error().target() == folder / "missing");
    auto unwritable_task = Fifo::open_write(folder / "missing");
    auto unwritable = co_await unwritable_task;
    CHECK(unwritable.code() == ENOENT);
    auto no_fifo_task = Fifo::open_read("/dev/null");
    auto no_fifo = co_await no_fifo_task;
    CHECK(no_fifo.code() == EINVAL);
    const std::string path = folder / "fifo";
    auto first = Fifo::create(path);
    auto made = co_await first;
    CHECK(made.ok());
    auto second = Fifo::create(path);
    auto again = co_await second;
    CHECK(again.code() == EEXIST);
  };
  io::run(body());
}

TEST_CASE("standard input and output are copies whose flags nobody changes") {
  NEEDS_REAL_KERNEL("the program's own descriptors 0 and 1");
  int in[2];
  int out[2];
  REQUIRE(::pipe2(in, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(out, O_CLOEXEC) == 0);
  const int old_in = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
  const int old_out = ::fcntl(1, F_DUPFD_CLOEXEC, 3);
  ::dup2(in[0], 0);
  ::dup2(out[1], 1);
  const int flags = ::fcntl(0, F_GETFL);
  bool echoed = false;
  bool ended = false;
  auto body = [&]() -> Task<> {
    auto input = io::standard_input().or_throw();
    auto output = io::standard_output().or_throw();
    for (const bool non_blocking : {false, true}) {  // a stranger may change them at any time
      ::fcntl(in[0], F_SETFL, non_blocking ? flags | O_NONBLOCK : flags);
      horus::Scope scope;
      auto reading = scope.spawn(line_of(input));
      co_await horus::sleep(1ms);
      static_cast<void>(::write(in[1], "ping\n", 5));
      auto line = co_await reading;
      auto writing = output.write_all(line.ok() ? *line : "failed");
      auto written = co_await writing;
      char got[8] = {};
      echoed = written.ok() && ::read(out[0], got, sizeof got) == 4 && std::string(got) == "ping";
      co_await scope.join();
      if (!echoed) co_return;
    }
    ::close(in[1]);
    auto end = co_await input.read_line();
    ended = end.code() == horus::kEndOfStream;
  };
  io::run(body());
  const bool still_open = ::fcntl(0, F_GETFD) >= 0 && ::fcntl(1, F_GETFD) >= 0;
  const int flags_after = ::fcntl(0, F_GETFL);
  ::dup2(old_in, 0);
  ::dup2(old_out, 1);
  for (const int fd : {old_in, old_out, in[0], out[0], out[1]}) ::close(fd);
  CHECK(echoed);
  CHECK(ended);
  CHECK(still_open);
  CHECK(flags_after == (flags | O_NONBLOCK));
  CHECK(horus::live_frames() == 0);
}
