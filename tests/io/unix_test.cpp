// SPDX-License-Identifier: Apache-2.0
#include <horus/io/unix.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/file_contents.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix_datagram.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Address;
using horus::io::ByteStream;
using horus::io::Descriptor;
using horus::io::UnixDatagram;
using horus::io::UnixListener;
using horus::io::UnixStream;
using horus::testing::Folder;
using horus::testing::open_descriptors;
using namespace horus::literals;

namespace {

// Runs `body` on a reactor of its own and checks that nothing is left behind.
template <class Body>
void run(Body body) {
  const int before = open_descriptors();
  horus::io::run(body());
  CHECK(open_descriptors() == before);
  CHECK(horus::live_frames() == 0);
}

// An abstract name of this process alone.
std::string own_name(const char* what) { return "@horus-test-" + std::to_string(::getpid()) + "-" + what; }

bool same_file(int one, int other) {
  struct stat a{};
  struct stat b{};
  REQUIRE(::fstat(one, &a) == 0);
  REQUIRE(::fstat(other, &b) == 0);
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

}  // namespace

TEST_CASE("streams connect by path and by abstract name") {
  const Folder folder;
  run([&]() -> Task<> {
    for (const std::string& name : {folder.path + "/x.sock", "unix:" + folder.path + "/y.sock",
                                    own_name("stream"), "unix:" + own_name("second")}) {
      CAPTURE(name);
      auto listener = UnixListener::listen(name).or_throw();
      auto connecting = UnixStream::connect(name);
      auto client = (co_await connecting).or_throw();
      auto server = (co_await listener.accept()).or_throw();
      CHECK(client.peer_address() == listener.local_address());
      auto sent = co_await client.write_all("hello\n");
      CHECK(sent.ok());
      auto line = co_await server.read_line();
      CHECK(*line == "hello");
      auto shut = co_await client.shutdown_write();
      CHECK(shut.ok());
      auto end = co_await server.read_line();
      CHECK(end.code() == horus::kEndOfStream);
      CHECK(end.error().message().find("a client of unix:") != std::string::npos);
    }
  });
}

TEST_CASE("what is not there, not a socket, or no name says so") {
  const Folder folder;
  run([&]() -> Task<> {
    auto connecting = UnixStream::connect(folder.path + "/none");
    auto none = co_await connecting;
    CHECK(none.code() == ENOENT);
    CHECK(none.error().message().starts_with("connect unix:" + folder.path + "/none: no such file"));
    connecting = UnixStream::connect(own_name("nobody"));
    auto nobody = co_await connecting;
    CHECK(nobody.code() == ECONNREFUSED);
    connecting = UnixStream::connect("");
    auto empty = co_await connecting;
    CHECK(empty.code() == EINVAL);
    connecting = UnixStream::connect(std::string(200, 'x'));
    auto too_long = co_await connecting;
    CHECK(too_long.code() == ENAMETOOLONG);
    connecting = UnixStream::connect(Address::loopback_v4(1));
    auto other = co_await connecting;
    CHECK(other.code() == EAFNOSUPPORT);
    CHECK(UnixListener::listen(folder.path + "/no/such/folder").code() == ENOENT);
  });
}

TEST_CASE("a socket file that an earlier program left is replaced; a living one and other files are not") {
  const Folder folder;
  run([&]() -> Task<> {
    const std::string path = folder.path + "/x.sock";
    {
      auto earlier = UnixListener::listen(path).or_throw();
      CHECK(UnixListener::listen(path).code() == EADDRINUSE);
      auto replacing = UnixListener::replace(path);
      auto living = co_await replacing;
      CHECK(living.code() == EADDRINUSE);
      auto closed = co_await earlier.close();
      CHECK(closed.ok());
    }
    CHECK(UnixListener::listen(path).code() == EADDRINUSE);
    auto replacing = UnixListener::replace(path);
    auto listener = co_await replacing;
    CHECK(listener.ok());
    const std::string file = folder.path + "/file";
    auto writing = horus::io::write_file(file, "no socket");
    auto written = co_await writing;
    REQUIRE(written.ok());
    replacing = UnixListener::replace(file);
    auto refused = co_await replacing;
    CHECK(refused.code() == EADDRINUSE);
    auto asking = horus::io::fs::exists(file);
    auto still_there = co_await asking;
    CHECK(*still_there);
    replacing = UnixListener::replace(folder.path + "/fresh");
    auto fresh = co_await replacing;
    CHECK(fresh.ok());
  });
}

TEST_CASE("the ends of a pair talk both ways, and an end that goes ends the other's reads") {
  run([]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    for (std::size_t size = 1; size <= 64; ++size) {
      const std::string text(size, 'x');
      auto sent = co_await one.write_all(text);
      CHECK(sent.ok());
      std::string seen(size, '?');
      auto read = co_await other.read_exact(seen);
      CHECK(read.ok());
      CHECK(seen == text);
    }
    horus::Scope scope;
    auto reading = scope.spawn(other.read_line());
    co_await horus::yield();
    one.reset();
    auto line = co_await reading;
    CHECK(line.code() == horus::kEndOfStream);
    auto written = co_await other.write_all("x");
    CHECK(written.code() == EPIPE);
  });
}

TEST_CASE("descriptors travel with their bytes, both ways, closed on exec") {
  run([]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    auto [reader, writer] = horus::io::make_pipe().or_throw();
    const int both[] = {reader.fd(), writer.fd()};
    auto sent = co_await one.send_descriptors(both, "two of them");
    CHECK(sent.ok());
    std::string bytes(64, '\0');
    auto received = co_await other.recv_descriptors(bytes);
    REQUIRE(received.ok());
    CHECK(bytes.substr(0, received->size) == "two of them");
    REQUIRE(received->descriptors.size() == 2);
    if (!horus::testing::simulated()) {
      CHECK(same_file(received->descriptors[1].get(), writer.fd()));
      CHECK((::fcntl(received->descriptors[0].get(), F_GETFD) & FD_CLOEXEC) != 0);
    }
    horus::io::PipeWriter copy(std::move(received->descriptors[1]), "a passed copy");
    auto through = co_await copy.write_all("through\n");
    CHECK(through.ok());
    auto came = co_await reader.read_line();
    CHECK(*came == "through");

    sent = co_await other.send_descriptor(received->descriptors[0].get());
    CHECK(sent.ok());
    auto back = co_await one.recv_descriptor();
    REQUIRE(back.ok());
    if (!horus::testing::simulated()) CHECK(same_file(back->get(), reader.fd()));

    sent = co_await other.write_all("x");
    auto without = co_await one.recv_descriptor();
    CHECK(without.code() == horus::kBadInput);
    sent = co_await other.write_all("plain");
    received = co_await one.recv_descriptors(bytes);
    CHECK(received->size == 5);
    CHECK(received->descriptors.empty());
    other.reset();
    auto end = co_await one.recv_descriptors(bytes);
    CHECK(end.code() == horus::kEndOfStream);
  });
}

TEST_CASE("descriptors that nobody expected or had room for are closed, and the bytes stay") {
  run([]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    const std::vector<int> many(horus::io::kMaxPassedDescriptors, other.fd());
    const std::vector<int> too_many(horus::io::kMaxPassedDescriptors + 1, other.fd());
    auto sent = co_await one.send_descriptors(too_many, "x");
    CHECK(sent.code() == EINVAL);
    sent = co_await one.send_descriptors(many, "");
    CHECK(sent.code() == EINVAL);
    const int closed[] = {-1};
    sent = co_await one.send_descriptors(closed, "x");
    CHECK(sent.code() == EBADF);

    std::string bytes(8, '\0');
    const int before = open_descriptors();
    for (const std::size_t most : {0, 1, 2, 63}) {
      sent = co_await one.send_descriptors(many, "abc");
      CHECK(sent.ok());
      auto received = co_await other.recv_descriptors(bytes, most);
      CHECK(received.code() == EMSGSIZE);
      auto rest = co_await other.read(bytes);
      CHECK(bytes.substr(0, *rest) == "abc");
      // Unwanted descriptors are closed in the background.
      for (int turns = 0; turns < 1'000 && open_descriptors() != before; ++turns) co_await horus::yield();
      CHECK(open_descriptors() == before);
    }
    sent = co_await one.send_descriptors(many, "abc");
    auto all = co_await other.recv_descriptors(bytes);
    CHECK(all->descriptors.size() == many.size());
    all->descriptors.clear();

    sent = co_await one.send_descriptors(many, "line\n");
    auto line = co_await other.read_line();
    CHECK(*line == "line");
  });
}

TEST_CASE("descriptors that find no room in the process are refused as a whole") {
  NEEDS_REAL_KERNEL("RLIMIT_NOFILE");
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  run([&]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    const std::array<int, 4> four = {0, 0, 0, 0};
    auto sent = co_await one.send_descriptors(four, "x");
    CHECK(sent.ok());
    const int lowest = ::dup(0);
    ::close(lowest);
    rlimit tight = limit;
    tight.rlim_cur = static_cast<rlim_t>(lowest) + 2;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    std::string bytes(8, '\0');
    auto received = co_await other.recv_descriptors(bytes);
    CHECK(received.code() == EMSGSIZE);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
    auto rest = co_await other.read(bytes);
    CHECK(*rest == 1);
  });
}

TEST_CASE("a connection that is sent to another task is used there") {
  run([]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    auto [near, far] = UnixStream::pair().or_throw();
    auto sent = co_await one.send_descriptor(far.fd());
    CHECK(sent.ok());
    far.reset();
    auto received = co_await other.recv_descriptor();
    UnixStream there(*std::move(received), horus::io::Ownership::shared);
    sent = co_await there.write_all("through\n");
    auto line = co_await near.read_line();
    CHECK(*line == "through");
    sent = co_await near.write_all("back\n");
    line = co_await there.read_line();
    CHECK(*line == "back");
  });
}

TEST_CASE("destroying a stream ends a waiting receive of descriptors") {
  run([]() -> Task<> {
    auto [one, other] = UnixStream::pair().or_throw();
    horus::Scope scope;
    auto waiting = scope.spawn(other.recv_descriptor());
    co_await horus::yield();
    auto busy = co_await other.read_line();
    CHECK(busy.code() == EBUSY);
    other.reset();
    auto ended = co_await waiting;
    CHECK(ended.code() == ECANCELED);
    auto none = co_await other.recv_descriptor();
    CHECK(none.code() == EBADF);
  });
}

TEST_CASE("datagrams arrive whole, with their sender, by path and by abstract name") {
  const Folder folder;
  run([&]() -> Task<> {
    for (const std::string& name : {folder.path + "/log", own_name("datagram")}) {
      auto server = UnixDatagram::bind(name).or_throw();
      CHECK(UnixDatagram::bind(name).code() == EADDRINUSE);
      auto client = UnixDatagram::bind_any().or_throw();
      auto joined = co_await client.connect(name);
      CHECK(joined.ok());
      std::string buffer(16, '\0');
      for (std::size_t size = 0; size <= buffer.size() + 1; ++size) {
        const std::string text(size, 'd');
        auto sent = co_await client.send(text);
        CHECK(*sent == size);
        auto datagram = co_await server.recv_from(buffer);
        REQUIRE(datagram.ok());
        CHECK(datagram->size == std::min(size, buffer.size()));
        CHECK(datagram->truncated == (size > buffer.size()));
        CHECK(datagram->from == client.local_address().or_throw());
        auto answered = co_await server.send_to("answer", datagram->from);
        CHECK(answered.ok());
        auto answer = co_await client.recv_from(buffer);
        CHECK(buffer.substr(0, answer->size) == "answer");
      }
      auto nameless = UnixDatagram::open().or_throw();
      auto sent = co_await nameless.send_to("x", Address::parse("unix:" + own_name("nobody")).or_throw());
      CHECK(sent.code() == ECONNREFUSED);
      sent = co_await nameless.send("x");
      CHECK(sent.code() == ENOTCONN);
    }
  });
}

TEST_CASE("a sender of datagrams waits for a slow receiver and loses none") {
  run([]() -> Task<> {
    auto [one, other] = UnixDatagram::pair().or_throw();
    auto flood = [](UnixDatagram& to) -> Task<> {
      for (int i = 0; i < 1'000; ++i) {
        const std::string text = std::to_string(i);
        auto sent = co_await to.send(text);
        CHECK(sent.ok());
      }
    };
    horus::Scope scope;
    auto flooding = scope.spawn(flood(one));
    std::string buffer(16, '\0');
    for (int i = 0; i < 1'000; ++i) {
      auto datagram = co_await other.recv_from(buffer);
      CHECK(buffer.substr(0, datagram->size) == std::to_string(i));
    }
    co_await flooding;
  });
}

TEST_CASE("datagrams carry descriptors, and a destroyed socket ends its receives") {
  run([]() -> Task<> {
    auto [one, other] = UnixDatagram::pair().or_throw();
    const std::array<int, 2> two = {0, 0};
    std::string buffer(16, '\0');
    std::vector<Descriptor> descriptors;
    auto sent = co_await one.send("fds", two);
    CHECK(sent.ok());
    auto datagram = co_await other.recv_from(buffer, descriptors);
    CHECK(datagram->size == 3);
    CHECK(descriptors.size() == 2);
    descriptors.clear();
    sent = co_await one.send("fds", two);
    datagram = co_await other.recv_from(buffer, descriptors, 1);
    CHECK(datagram.code() == EMSGSIZE);
    CHECK(descriptors.empty());
    sent = co_await one.send("fds", two);
    datagram = co_await other.recv_from(buffer);
    CHECK(datagram->size == 3);
    std::string second(16, '\0');
    horus::Scope scope;
    auto waiting = scope.spawn(other.recv_from(buffer));
    auto late = scope.spawn(other.recv_from(second));
    co_await horus::yield();
    other.reset();
    auto ended = co_await waiting;
    CHECK(ended.code() == ECANCELED);
    ended = co_await late;
    CHECK_FALSE(ended.ok());
    auto closed = co_await one.close();
    CHECK(closed.ok());
    sent = co_await one.send("x");
    CHECK(sent.code() == EBADF);
  });
}

TEST_CASE("many connections by path leave the descriptors as they were") {
  const Folder folder;
  run([&]() -> Task<> {
    const std::string path = folder.path + "/x.sock";
    auto listener = UnixListener::listen(path).or_throw();
    auto serve = [](UnixListener& from) -> Task<int> {
      int served = 0;
      auto connections = from.connections();
      while (true) {
        auto connection = co_await connections.next();
        if (!connection || !connection->ok()) break;
        UnixStream stream = **std::move(connection);
        auto line = co_await stream.read_line();
        auto sent = co_await stream.write_all(std::move(line).value_or("nothing"));
        if (sent) ++served;
      }
      co_return served;
    };
    horus::Scope scope;
    auto server = scope.spawn(serve(listener));
    for (int i = 0; i < 500; ++i) {
      auto connecting = UnixStream::connect(path);
      auto client = (co_await connecting).or_throw();
      auto sent = co_await client.write_all("hello\n");
      auto answer = co_await client.read_all();
      REQUIRE(*answer == "hello");
    }
    listener.reset();
    auto served = co_await server;
    CHECK(served == 500);
  });
}
