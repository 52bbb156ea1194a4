// SPDX-License-Identifier: Apache-2.0
// On real backends: each operation of a program that uses sockets and files fails in turn, with each errno that its
// manual page names, is cut short, or comes late. The program must end, say why, and leave nothing behind.
#include <horus/sim/faulty.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/io_uring.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/io/directory.hpp>
#include <horus/io/reactor.hpp>

using horus::Error;
using horus::Result;
using horus::Scope;
using horus::Task;
using horus::io::Backend;
using horus::io::Reactor;
using horus::io::ReactorConfig;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::sim::Injection;
using horus::sim::InjectionRecord;
namespace io = horus::io;
using namespace horus::literals;

namespace {

struct Silence {
  horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  ~Silence() { horus::set_log_sink(before); }
};

struct Folder {
  std::string path = "/tmp/horus-faulty-XXXXXX";
  Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
};

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 512; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

Task<> echo(TcpListener& listener) {
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) co_return;
    while (true) {
      auto line = co_await stream->read_line();
      if (!line) break;
      auto written = co_await stream->write_all(*line + "\n");
      if (!written) break;
    }
  }
}

Task<Result<>> talk(std::string address) {
  auto connecting = TcpStream::connect(address);
  auto stream = co_await connecting;
  if (!stream) co_return stream.error();
  for (int i = 0; i < 3; ++i) {
    const std::string question = "question " + std::to_string(i);
    auto written = co_await stream->write_all(question + "\n");
    if (!written) co_return written.error();
    auto answer = co_await stream->read_line();
    if (!answer) co_return answer.error();
    CHECK(*answer == question);  // wrong data is worse than none
  }
  co_return Result<>();
}

Task<Result<>> keep(std::string path) {
  auto made = co_await io::fs::create_directories(path + "/a/b");
  if (!made) co_return made.error();
  const std::string text(10'000, 'x');
  auto replaced = co_await io::replace_file(path + "/a/b/file", text);
  if (!replaced) co_return replaced.error();
  auto read = co_await io::read_file(path + "/a/b/file");
  if (!read) co_return read.error();
  CHECK(*read == text);
  auto removed = co_await io::fs::remove_all(path + "/a");
  if (!removed) co_return removed.error();
  co_return Result<>();
}

// What the program ended with: 0, or the first error of its own making.
Task<int> program(std::string folder) {
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  Scope scope("server", horus::Failures::log);
  static_cast<void>(scope.spawn(echo(listener)));
  auto talked = co_await horus::with_timeout(5s, talk(listener.local_address().to_string()));
  auto kept = co_await horus::with_timeout(5s, keep(std::move(folder)));
  scope.cancel();
  co_await scope.join();
  if (!talked) co_return talked.code();
  if (!kept) co_return kept.code();
  co_return 0;
}

// Without a ring where there is none of that name.
Backend backend_named(const char* name, const ReactorConfig& config) {
#ifdef HORUS_WITH_URING
  if (std::string_view(name) == "uring") {
    auto made = io::make_uring_backend(config);
    return made ? *std::move(made) : Backend{};
  }
#endif
  return std::string_view(name) == "epoll" ? io::make_epoll_backend(config).or_throw() : Backend{};
}

// Runs the program with one injection; gives what it ended with.
int run_with(const char* backend, const Injection& injection, InjectionRecord& record,
             const std::string& folder) {
  const ReactorConfig config;
  int outcome = 0;
  const int descriptors = open_descriptors();
  {
    Reactor reactor(horus::sim::make_faulty_backend(backend_named(backend, config), injection, record),
                    config);
    outcome = reactor.run(program(folder));
  }
  CHECK(open_descriptors() == descriptors);
  CHECK(horus::live_frames() == 0);
  return outcome;
}

struct Row {
  int opcode;
  bool shows;  // each failure of it is the program's outcome: nothing may swallow it
  std::vector<int> errors;
};

void check_every(const char* backend, const Row& row) {
  const int opcode = row.opcode;
  for (const int error : row.errors) {
    int fired = 0;
    for (std::uint64_t nth = 1; nth < 200; ++nth) {
      const Folder folder;
      Injection injection;
      injection.nth = nth;
      injection.opcode = opcode;
      injection.error = error;
      InjectionRecord record;
      const int outcome = run_with(backend, injection, record, folder.path);
      CAPTURE(nth);
      CAPTURE(error);
      CAPTURE(opcode);
      CAPTURE(backend);
      CHECK((outcome != ETIMEDOUT || error == ETIMEDOUT));
      if (!record.fired) {
        CHECK(outcome == 0);
        break;
      }
      ++fired;
      // An interrupted operation counts as a cancelled one.
      if (row.shows) CHECK(outcome == (error == EINTR ? ECANCELED : error));
    }
    CHECK(fired > 0);
  }
}

std::vector<const char*> backends() {
  std::vector<const char*> usable;
  for (const char* name : {"uring", "epoll"}) {
    if (backend_named(name, ReactorConfig()).ring != nullptr) usable.push_back(name);
  }
  return usable;
}

}  // namespace

TEST_CASE("each operation of a program fails in turn, with each errno of its manual page") {
  const Silence silence;
  const std::vector<Row> rows{
      {IORING_OP_ACCEPT, false, {ECONNABORTED, EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM, EPROTO, EINTR}},
      {IORING_OP_CONNECT,
       true,
       {ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT, EADDRNOTAVAIL, EACCES, EPERM, EINTR, EADDRINUSE}},
      {IORING_OP_RECV, false, {ECONNRESET, ECONNREFUSED, ENOMEM, ETIMEDOUT, EINTR, ENOBUFS}},
      {IORING_OP_SEND, false, {EPIPE, ECONNRESET, ENOBUFS, ENOMEM, EINTR, EHOSTUNREACH}},
      {IORING_OP_OPENAT, false, {EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ENOSPC, EROFS, EDQUOT, EINTR}},
      {IORING_OP_READ, false, {EIO, EINTR, ENOMEM}},
      {IORING_OP_WRITE, true, {EIO, ENOSPC, EDQUOT, EFBIG, EINTR, ENOMEM}},
      {IORING_OP_FSYNC, true, {EIO, ENOSPC, EDQUOT, EINTR}},
      {IORING_OP_STATX, false, {EACCES, ENOENT, ENOMEM}},
      {IORING_OP_RENAMEAT, true, {EACCES, ENOSPC, EROFS, EBUSY, EXDEV}},
      {IORING_OP_MKDIRAT, true, {EACCES, ENOSPC, EROFS, EDQUOT, EMLINK}},
      {IORING_OP_UNLINKAT, true, {EACCES, EBUSY, EROFS, EIO}},
      {-1, false, {EIO, ENOMEM}},
  };
  for (const char* backend : backends()) {
    for (const Row& row : rows) check_every(backend, row);
  }
}

TEST_CASE("each operation is cut short in turn, and each comes late, and the program does not notice") {
  const Silence silence;
  for (const char* backend : backends()) {
    for (const int opcode : {static_cast<int>(IORING_OP_SEND), static_cast<int>(IORING_OP_RECV),
                             static_cast<int>(IORING_OP_READ), static_cast<int>(IORING_OP_WRITE), -1}) {
      for (std::uint64_t nth = 1; nth < 200; ++nth) {
        const Folder folder;
        Injection injection;
        injection.nth = nth;
        injection.opcode = opcode;
        if (opcode >= 0) {
          injection.shorten_to = 1;
        } else {
          injection.delay = 1ms;
        }
        InjectionRecord record;
        CAPTURE(nth);
        CAPTURE(opcode);
        CAPTURE(backend);
        CHECK(run_with(backend, injection, record, folder.path) == 0);
        if (!record.fired) break;
      }
    }
  }
}

TEST_CASE("injections are read from text, and what is wrong with one is said") {
  const auto reset = Injection::parse("recv:3:ECONNRESET").or_throw();
  CHECK(reset.opcode == IORING_OP_RECV);
  CHECK(reset.nth == 3);
  CHECK(reset.error == ECONNRESET);
  CHECK(Injection::parse("write:1:short=7").or_throw().shorten_to == 7);
  CHECK(Injection::parse("any:2:delay=10ms").or_throw().delay == 10ms);
  for (const char* wrong : {"", "recv", "recv:0:EIO", "recv:1:", "recv:1:EWRONG", "fly:1:EIO", "recv:x:EIO",
                            "read:1:short=0", "read:1:delay=5"}) {
    const auto refused = Injection::parse(wrong);
    CHECK(refused.code() == EINVAL);
    CHECK(refused.error().message().find("KIND:NUMBER:WHAT") != std::string::npos);
  }
}
