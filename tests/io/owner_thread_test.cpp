// SPDX-License-Identifier: Apache-2.0
// What belongs to one thread's reactor and is used on another's: the program ends with a line that says so. What is
// handed over properly goes on there.
#include <array>
#include <cstddef>
#include <functional>
#include <string>
#include <thread>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/chunk_stream.hpp>
#include <horus/io/file.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/stream/buffer_pool.hpp>
#include <horus/io/time.hpp>
#include <horus/io/udp.hpp>
#include <horus/io/unix_datagram.hpp>

#include "../support/real_kernel.hpp"

namespace {

using horus::Task;
using horus::io::Bytes;
using horus::io::File;
using horus::io::MutableBytes;
using horus::io::UdpSocket;
using horus::io::UnixDatagram;

std::array<std::byte, 64> buffer;

MutableBytes room() { return {buffer.data(), buffer.size()}; }

void on_a_thread_of_its_own(const std::function<Task<>()>& body) {
  std::thread stranger([&] { horus::io::run(body()); });
  stranger.join();
}

// What a child of ours says on stderr that runs `body`, and the signal that ends it.
struct End {
  std::string words;
  int signal = 0;
};

End end_of(const std::function<void()>& body) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::signal(SIGABRT, SIG_DFL);
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  End end;
  char text[1024];
  for (ssize_t got; (got = ::read(ends[0], text, sizeof text)) > 0;)
    end.words.append(text, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  return end;
}

File opened(const char* path) {
  auto opening = File::open_read(path);
  return horus::io::run([](Task<horus::Result<File>> task) -> Task<File> {
    auto file = co_await task;
    co_return std::move(file).or_throw();
  }(std::move(opening)));
}

}  // namespace

TEST_CASE("what belongs to one thread ends the program on another, with its name") {
  NEEDS_REAL_KERNEL("threads");
  struct Use {
    const char* what;
    std::function<void()> body;
  };
  const Use uses[] = {
      {"UdpSocket",
       [] {
         const horus::io::Reactor reactor;
         UdpSocket socket = UdpSocket::bind("127.0.0.1:0").or_throw();
         on_a_thread_of_its_own([&]() -> Task<> {
           auto sending = socket.send_to(Bytes(buffer.data(), 1), socket.local_address().or_throw());
           static_cast<void>(co_await sending);
         });
       }},
      {"UdpSocket",
       [] {
         const horus::io::Reactor reactor;
         UdpSocket socket = UdpSocket::bind("127.0.0.1:0").or_throw();
         on_a_thread_of_its_own([&]() -> Task<> { static_cast<void>(co_await socket.recv_from(room())); });
       }},
      {"UnixDatagram",
       [] {
         const horus::io::Reactor reactor;
         auto pair = UnixDatagram::pair().or_throw();
         on_a_thread_of_its_own([&]() -> Task<> {
           auto receiving = pair.first.recv_from(room());
           static_cast<void>(co_await receiving);
         });
       }},
      {"File",
       [] {
         const File file = opened("/proc/self/stat");
         on_a_thread_of_its_own([&]() -> Task<> { static_cast<void>(co_await file.read_at(room(), 0)); });
       }},
      {"File",
       [] {
         const File file = opened("/proc/self/stat");
         on_a_thread_of_its_own([&]() -> Task<> {
           auto reading = file.read_line();
           static_cast<void>(co_await reading);
         });
       }},
      {"ChunkReader",
       [] {
         const horus::io::Reactor reactor;
         horus::io::BufferPool pool(4, 4096);
         int ends[2];
         if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
         horus::io::ChunkReader reader(ends[0], pool);
         on_a_thread_of_its_own([&]() -> Task<> { static_cast<void>(co_await reader.next()); });
       }},
      {"ChunkWriter",
       [] {
         const horus::io::Reactor reactor;
         int ends[2];
         if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return;
         horus::io::ChunkWriter writer(ends[0]);
         on_a_thread_of_its_own([&]() -> Task<> { static_cast<void>(co_await writer.flush()); });
       }},
  };
  for (const Use& use : uses) {
    CAPTURE(use.what);
    const End end = end_of(use.body);
    CHECK(end.signal == SIGABRT);
    CHECK(end.words.find(std::string("a ") + use.what + " was used on a thread that did not make it") !=
          std::string::npos);
  }
}

TEST_CASE("a socket and a file that are handed over go on on the other thread") {
  NEEDS_REAL_KERNEL("threads");
  const horus::io::Reactor reactor;
  UdpSocket socket = UdpSocket::bind("127.0.0.1:0").or_throw();
  const auto where = socket.local_address().or_throw();
  File file = opened("/proc/self/stat");
  horus::io::Descriptor of_socket = socket.release();
  horus::io::Descriptor of_file = file.release();
  CHECK(socket.fd() == -1);
  CHECK(file.fd() == -1);
  std::size_t sent = 0;
  std::size_t read = 0;
  on_a_thread_of_its_own([&]() -> Task<> {
    UdpSocket mine(std::move(of_socket));
    CHECK(mine.local_address().or_throw() == where);
    auto sending = mine.send_to(Bytes(buffer.data(), 3), where);
    sent = (co_await sending).or_throw();
    const auto datagram = co_await mine.recv_from(room());
    CHECK(datagram->size == 3);
    const File own(std::move(of_file), "/proc/self/stat");
    read = (co_await own.read(room())).or_throw();
  });
  CHECK(sent == 3);
  CHECK(read > 0);
}

TEST_CASE("what was made before its thread had a reactor belongs to whoever uses it") {
  NEEDS_REAL_KERNEL("threads");
  std::thread maker([] {
    UdpSocket nobodys;  // owns nothing, and belongs to nobody
    on_a_thread_of_its_own([&]() -> Task<> {
      nobodys = UdpSocket::bind("127.0.0.1:0").or_throw();
      const auto where = nobodys.local_address().or_throw();
      auto sending = nobodys.send_to(Bytes(buffer.data(), 1), where);
      const auto size = co_await sending;
      CHECK(*size == 1);
    });
  });
  maker.join();
}

TEST_CASE("an Interval belongs to no reactor") {
  NEEDS_REAL_KERNEL("threads");
  const horus::io::Reactor reactor;
  horus::Interval every(std::chrono::milliseconds(1));
  int ticks = 0;
  on_a_thread_of_its_own([&]() -> Task<> {
    for (; ticks < 3; ++ticks) co_await every.next();
  });
  CHECK(ticks == 3);
}
