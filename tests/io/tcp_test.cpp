// SPDX-License-Identifier: Apache-2.0
#include <netinet/tcp.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/loop/socket.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>

#include "../support/real_kernel.hpp"
#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Address;
using horus::io::ConnectOptions;
using horus::io::Descriptor;
using horus::io::ListenOptions;
using horus::io::TcpListener;
using horus::io::TcpStream;
using namespace horus::literals;
namespace testing = horus::testing;

namespace {

// Runs `body` on a reactor of its own and checks that nothing is left behind.
template <class Body>
void run(Body body) {
  const int before = testing::open_descriptors();
  horus::io::run(body());
  CHECK(testing::open_descriptors() == before);
  CHECK(horus::live_frames() == 0);
}

struct Pair {
  TcpStream client, server;
};

Task<Pair> connected(const TcpListener& listener) {
  Pair pair;
  auto connecting = TcpStream::connect(listener.local_address());
  pair.client = (co_await connecting).or_throw();
  auto accepting = listener.accept();
  pair.server = (co_await accepting).or_throw();
  co_return std::move(pair);
}

// A port of the loopback that is taken and refuses connections.
struct RefusingPort {
  int fd = testing::system().socket(AF_INET, SOCK_STREAM, 0);
  Address address;
  RefusingPort() {
    const Address any = Address::loopback_v4(0);
    REQUIRE(testing::system().bind(fd, any.data(), any.size()) == 0);
    socklen_t size = Address::capacity;
    REQUIRE(testing::system().local_address(fd, address.room(), &size) == 0);
    address.set_size(size);
  }
  RefusingPort(const RefusingPort&) = delete;
  RefusingPort& operator=(const RefusingPort&) = delete;
  ~RefusingPort() { testing::system().close(fd); }
};

Descriptor fresh_socket() { return Descriptor(testing::system().socket(AF_INET, SOCK_STREAM, 0)); }

Task<> connect_raw(int fd, const Address& to) {
  horus::io::detail::ConnectSocket connecting(fd, to);
  int result = co_await connecting;
  REQUIRE(result == 0);
}

// No more than `free` further descriptors, while it lives.
class Shortage {
 public:
  explicit Shortage(std::size_t free) {
    if (testing::simulated()) {
      for (int fd = 0; (fd = testing::system().event_fd(0, 0)) >= 0;) held_.push_back(fd);
      for (; free > 0; --free) give_one_back();
      return;
    }
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int lowest = ::dup(0);
    ::close(lowest);
    rlimit tight = before_;
    tight.rlim_cur = static_cast<rlim_t>(lowest) + free;
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  }
  Shortage(const Shortage&) = delete;
  Shortage& operator=(const Shortage&) = delete;
  ~Shortage() { end(); }
  void end() {
    while (!held_.empty()) give_one_back();
    if (before_.rlim_cur != 0) ::setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  void give_one_back() {
    testing::system().close(held_.back());
    held_.pop_back();
  }
  std::vector<int> held_;
  rlimit before_{};
};

}  // namespace

TEST_CASE("a client and a server talk, each knows both addresses, and no_delay is on") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    CHECK(listener.port() != 0);
    auto connecting = TcpStream::connect(listener.local_address().to_string());
    auto client = (co_await connecting).or_throw();
    auto server = (co_await listener.accept()).or_throw();
    CHECK(client.peer_address() == listener.local_address());
    CHECK(server.peer_address() == client.local_address().or_throw());
    CHECK(server.local_address().or_throw() == client.peer_address());
    CHECK(testing::option_of(client.fd(), IPPROTO_TCP, TCP_NODELAY) == 1);
    CHECK(testing::option_of(server.fd(), IPPROTO_TCP, TCP_NODELAY) == 1);
    auto sent = co_await client.write_all("ping\n");
    CHECK(sent.ok());
    auto line = co_await server.read_line();
    CHECK(*line == "ping");
    auto shut = co_await client.shutdown_write();
    CHECK(shut.ok());
    auto end = co_await server.read_line();
    CHECK(end.code() == horus::kEndOfStream);
    sent = co_await server.write_all("still heard");
    CHECK(sent.ok());
    auto closed = co_await server.close();
    CHECK(closed.ok());
    auto answer = co_await client.read_all();
    CHECK(*answer == "still heard");
  });
}

TEST_CASE("IPv6 connects as IPv4 does") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("[::1]:0");
    if (listener.code() == EADDRNOTAVAIL || listener.code() == EAFNOSUPPORT) {
      MESSAGE("no IPv6 here");
      co_return;
    }
    auto pair = co_await connected(*listener);
    CHECK(pair.client.peer_address().to_string().starts_with("[::1]:"));
    auto sent = co_await pair.server.write_all("six\n");
    auto line = co_await pair.client.read_line();
    CHECK(*line == "six");
    auto dual = TcpListener::listen("[::]:0").or_throw();
    auto connecting = TcpStream::connect(Address::loopback_v4(dual.port()));
    auto client = co_await connecting;
    CHECK(client.ok());
    auto only = TcpListener::listen("[::]:0", ListenOptions().with_only_v6()).or_throw();
    connecting = TcpStream::connect(Address::loopback_v4(only.port()));
    auto refused = co_await connecting;
    CHECK(refused.code() == ECONNREFUSED);
  });
}

TEST_CASE("a refused connection says where and what to do") {
  run([]() -> Task<> {
    const RefusingPort port;
    auto connecting = TcpStream::connect(port.address.to_string());
    auto refused = co_await connecting;
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().message() ==
          "connect " + port.address.to_string() +
              ": connection refused (is the server running, and listening there?)");
    std::vector<Address> several = {port.address, port.address, port.address};
    connecting = TcpStream::connect(std::move(several));
    refused = co_await connecting;
    CHECK(refused.error().message().find("(the last of 3 addresses tried)") != std::string::npos);
    connecting = TcpStream::connect(std::vector<Address>());
    auto none = co_await connecting;
    CHECK(none.code() == EINVAL);
    connecting = TcpStream::connect("127.0.0.1:no");
    auto wrong = co_await connecting;
    CHECK(wrong.code() == EINVAL);
    connecting = TcpStream::connect(Address::parse("unix:/x").or_throw());
    auto not_tcp = co_await connecting;
    CHECK(not_tcp.code() == EAFNOSUPPORT);
  });
}

TEST_CASE("a name is resolved, and its addresses are tried until one answers") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto connecting = TcpStream::connect("localhost:" + std::to_string(listener.port()),
                                         ConnectOptions().with_timeout(30s));
    auto client = co_await connecting;
    REQUIRE(client.ok());
    CHECK(client->peer_address() == listener.local_address());
    const RefusingPort port;
    const std::string name = "localhost:" + std::to_string(port.address.port());
    connecting = TcpStream::connect(name);
    auto refused = co_await connecting;
    REQUIRE(refused.code() == ECONNREFUSED);
    CHECK(refused.error().message().starts_with("connect " + name + " ("));
    for (const char* wrong :
         {"localhost", "localhost:", "localhost:x", "127.0.0.999:80", "bad host:80", ":80"}) {
      connecting = TcpStream::connect(wrong);
      auto none = co_await connecting;
      CHECK(none.code() == EINVAL);
    }
  });
}

TEST_CASE("a socket never connects to itself") {
  run([]() -> Task<> {
    Address free;
    {
      const RefusingPort port;
      free = port.address;
    }
    auto connecting = TcpStream::connect(free, ConnectOptions().with_local(free));
    auto itself = co_await connecting;
    CHECK(itself.code() == ECONNREFUSED);
  });
}

TEST_CASE("a non-blocking socket that somebody else made is waited for") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto pair = co_await connected(listener);
    Descriptor socket = pair.server.release();
    if (!testing::simulated())
      REQUIRE(::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK) == 0);
    TcpStream adopted(std::move(socket));
    CHECK(adopted.peer_address() == pair.client.local_address().or_throw());
    horus::Scope scope;
    std::array<char, 8> bytes;
    auto reading = scope.spawn(adopted.read(bytes).as_task());
    co_await horus::yield();
    auto sent = co_await pair.client.write_all("four");
    CHECK(sent.ok());
    auto count = co_await reading;
    CHECK(*count == 4);
    auto writing = scope.spawn(adopted.write_all(std::string(8'000'000, 'x')));
    pair.client.set_buffer_limit(1 << 20);
    std::string all(8'000'000, '\0');
    auto read = co_await pair.client.read_exact(all);
    CHECK(read.ok());
    auto written = co_await writing;
    CHECK(written.ok());
  });
}

TEST_CASE("the first address that answers is taken") {
  run([]() -> Task<> {
    const RefusingPort port;
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto connecting = TcpStream::connect(std::vector<Address>{port.address, listener.local_address()});
    auto client = co_await connecting;
    REQUIRE(client.ok());
    CHECK(client->peer_address() == listener.local_address());
  });
}

TEST_CASE("a connection that is not answered times out, in all and per address") {
  run([]() -> Task<> {
    // A listener that never accepts: when its backlog is full, the kernel stops answering.
    const Descriptor full = fresh_socket();
    Address address = Address::loopback_v4(0);
    REQUIRE(testing::system().bind(full.get(), address.data(), address.size()) == 0);
    REQUIRE(testing::system().listen(full.get(), 0) == 0);
    socklen_t size = Address::capacity;
    REQUIRE(testing::system().local_address(full.get(), address.room(), &size) == 0);
    std::vector<TcpStream> kept;
    Result<TcpStream> last = horus::Error(EINVAL);
    for (int i = 0; i < 8; ++i) {
      auto connecting = TcpStream::connect(address, ConnectOptions().with_timeout(50ms));
      last = co_await connecting;
      if (!last) break;
      kept.push_back(*std::move(last));
    }
    REQUIRE_FALSE(last.ok());
    CHECK(last.error().message() == "connect " + address.to_string() + ": timed out after 50 ms");
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto connecting = TcpStream::connect(std::vector<Address>{address, listener.local_address()},
                                         ConnectOptions().with_attempt_timeout(20ms));
    auto second = co_await connecting;
    CHECK(second.ok());
  });
}

TEST_CASE("settings reach the sockets") {
  run([]() -> Task<> {
    ListenOptions listening;
    listening.keep_alive = horus::io::KeepAlive(30s, 5s, 3);
    listening.receive_buffer = 20'000;
    auto listener = TcpListener::listen("127.0.0.1:0", listening).or_throw();
    auto connecting =
        TcpStream::connect(listener.local_address(), ConnectOptions()
                                                         .with_no_delay(false)
                                                         .with_keep_alive(horus::io::KeepAlive(7s))
                                                         .with_local(Address::loopback_v4(0)));
    auto client = (co_await connecting).or_throw();
    auto server = (co_await listener.accept()).or_throw();
    CHECK(testing::option_of(client.fd(), IPPROTO_TCP, TCP_NODELAY) == 0);
    CHECK(testing::option_of(client.fd(), IPPROTO_TCP, TCP_KEEPIDLE) == 7);
    CHECK(testing::option_of(client.fd(), SOL_SOCKET, SO_KEEPALIVE) == 1);
    CHECK(testing::option_of(server.fd(), IPPROTO_TCP, TCP_KEEPINTVL) == 5);
    CHECK(testing::option_of(server.fd(), IPPROTO_TCP, TCP_KEEPCNT) == 3);
    CHECK(testing::option_of(server.fd(), SOL_SOCKET, SO_RCVBUF) == 40'000);
    CHECK(client.set_no_delay(true).ok());
    CHECK(client.set_keep_alive(false).ok());
    CHECK(testing::option_of(client.fd(), SOL_SOCKET, SO_KEEPALIVE) == 0);
    TcpStream nothing;
    CHECK(nothing.set_no_delay(true).code() == EBADF);
    CHECK(nothing.local_address().code() == EBADF);
  });
}

TEST_CASE(
    "an address in use is refused with its address, and two listeners may share a port if both say so") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    const std::string where = listener.local_address().to_string();
    auto second = TcpListener::listen(where);
    REQUIRE(second.code() == EADDRINUSE);
    CHECK(second.error().message().starts_with("bind " + where + ": address already in use"));
    auto one = TcpListener::listen("127.0.0.1:0", ListenOptions().with_reuse_port()).or_throw();
    auto two = TcpListener::listen(one.local_address(), ListenOptions().with_reuse_port());
    CHECK(two.ok());
    CHECK(TcpListener::listen("localhost:0").code() == EINVAL);
    auto closed = co_await listener.close();
    CHECK(closed.ok());
    CHECK(TcpListener::listen(where).ok());
  });
}

TEST_CASE("megabytes arrive whole in chunks of every kind") {
  run([]() -> Task<> {
    ListenOptions small;
    small.receive_buffer = 5'000;
    auto listener = TcpListener::listen("127.0.0.1:0", small).or_throw();
    auto pair = co_await connected(listener);
    std::string text(3'000'000, '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 31 + i / 251);
    horus::Scope scope;
    auto writing = scope.spawn(pair.client.write_all(text));
    std::string seen;
    std::string chunk(7'000, '\0');
    for (std::size_t want = 1; seen.size() < text.size(); want = want * 3 % 6'991 + 1) {
      auto count = co_await pair.server.read(std::span(chunk).first(want));
      REQUIRE(count.ok());
      seen.append(chunk, 0, *count);
    }
    CHECK((seen == text));
    auto written = co_await writing;
    CHECK(written.ok());
  });
}

TEST_CASE("gathered writes and scattered reads keep the order on a socket") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto pair = co_await connected(listener);
    std::vector<std::string> texts;
    std::string whole;
    for (std::size_t i = 0; i < 40; ++i) {
      texts.push_back(std::string(i * 1'000, static_cast<char>('A' + i)));
      whole += texts.back();
    }
    const std::vector<horus::io::Bytes> parts(texts.begin(), texts.end());
    horus::Scope scope;
    auto writing = scope.spawn(pair.client.write_all(parts));
    std::string seen;
    std::string one(333, '\0'), two(1'777, '\0');
    const horus::io::MutableBytes into[] = {one, two};
    while (seen.size() < whole.size()) {
      auto count = co_await pair.server.read(into);
      REQUIRE(count.ok());
      seen += (one + two).substr(0, *count);
    }
    CHECK((seen == whole));
    auto written = co_await writing;
    CHECK(written.ok());
  });
}

TEST_CASE("a peer that resets the connection is an error value with its address") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto pair = co_await connected(listener);
    horus::Scope scope;
    auto reading = scope.spawn(pair.server.read_line());
    co_await horus::yield();
    const std::string name = pair.server.name();
    const linger now{1, 0};
    REQUIRE(testing::system().set_option(pair.client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0);
    pair.client.reset();
    auto line = co_await reading;
    REQUIRE(line.code() == ECONNRESET);
    CHECK(line.error().message().starts_with("read " + name + ": "));
    auto written = co_await pair.server.write_all("x");
    CHECK(written.code() == EPIPE);
  });
}

TEST_CASE("destroying a stream or a listener ends the calls of others with ECANCELED") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto pair = co_await connected(listener);
    horus::Scope scope;
    auto reading = scope.spawn(pair.client.read_line());
    auto one = scope.spawn(listener.accept());
    auto two = scope.spawn(listener.accept());
    co_await horus::yield();
    pair.client.reset();
    listener.reset();
    auto line = co_await reading;
    CHECK(line.code() == ECANCELED);
    auto first = co_await one;
    CHECK(first.code() == ECANCELED);
    auto second = co_await two;
    CHECK(second.code() == ECANCELED);
    auto third = co_await listener.accept();
    CHECK(third.code() == EBADF);
  });
}

TEST_CASE("an accept that timed out loses no connection") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    for (int round = 0; round < 3; ++round) {
      auto late = co_await horus::with_timeout(1ms, listener.accept());
      CHECK(late.code() == ETIMEDOUT);
      auto pair = co_await connected(listener);
      CHECK(pair.server.is_open());
    }
  });
}

TEST_CASE("more connections than the accept queue holds are all served, in the order of arrival") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0", ListenOptions().with_accept_queue(2)).or_throw();
    auto first = co_await connected(listener);  // arms the multishot
    std::vector<TcpStream> clients;
    for (int i = 0; i < 40; ++i) {
      auto connecting = TcpStream::connect(listener.local_address());
      clients.push_back((co_await connecting).or_throw());
    }
    auto connections = listener.connections();
    for (const TcpStream& client : clients) {
      auto connection = co_await connections.next();
      REQUIRE(connection.has_value());
      REQUIRE(connection->ok());
      CHECK((*connection)->peer_address() == client.local_address().or_throw());
    }
    listener.reset();
    auto last = co_await connections.next();
    CHECK(last->code() == ECANCELED);
    auto end = co_await connections.next();
    CHECK_FALSE(end.has_value());
  });
}

TEST_CASE("connections that nobody accepted are closed with their listener") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto first = co_await connected(listener);
    auto connecting = TcpStream::connect(listener.local_address());
    auto waiting = (co_await connecting).or_throw();
    auto reading = waiting.read_line();
    auto late = co_await horus::with_timeout(1ms, std::move(reading));
    CHECK(late.code() == ETIMEDOUT);
    listener.reset();
    auto end = co_await waiting.read_line();
    CHECK((end.code() == horus::kEndOfStream || end.code() == ECONNRESET));
  });
}

TEST_CASE("without descriptors connections are closed one at a time, and accepting recovers") {
  std::vector<std::string> warnings;
  auto previous =
      horus::set_log_sink([&](horus::LogLevel, std::string_view line) { warnings.emplace_back(line); });
  run([&]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    std::vector<TcpStream> clients;
    std::vector<Descriptor> sockets;
    for (int i = 0; i < 6; ++i) sockets.push_back(fresh_socket());
    Shortage shortage(2);
    const Address to = listener.local_address();
    for (int i = 0; i < 5; ++i) {
      co_await connect_raw(sockets[static_cast<std::size_t>(i)].get(), to);
      clients.emplace_back(std::move(sockets[static_cast<std::size_t>(i)]));
    }
    const auto before = horus::io::Reactor::current()->statistics().operations;
    auto one = co_await listener.accept();
    auto two = co_await listener.accept();
    CHECK(one.ok());
    CHECK(two.ok());
    horus::Scope scope;
    auto waiting = scope.spawn(listener.accept());
    for (std::size_t i = 2; i < 5; ++i) {
      auto end = co_await clients[i].read_line();
      CHECK((end.code() == horus::kEndOfStream || end.code() == ECONNRESET));
    }
    CHECK(listener.refused() == 3);
    CHECK(horus::io::Reactor::current()->statistics().operations - before < 100);
    CHECK_FALSE(waiting.done());
    shortage.end();
    co_await connect_raw(sockets[5].get(), to);
    auto recovered = co_await waiting;
    CHECK(recovered.ok());
  });
  horus::set_log_sink(std::move(previous));
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("too many open") != std::string::npos);
  CHECK(warnings[0].find("ulimit -n") != std::string::npos);
}

TEST_CASE("a listener that is dropped while it rests after a shortage leaves nothing behind") {
  auto previous = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  run([&]() -> Task<> {
    for (int turns = 0; turns < 12; ++turns) {
      auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
      const Descriptor client = fresh_socket();
      const Shortage shortage(0);
      const Address to = listener.local_address();
      co_await connect_raw(client.get(), to);
      horus::Scope scope;
      auto waiting = scope.spawn(listener.accept());
      for (int i = 0; i < turns; ++i) co_await horus::yield();
      listener.reset();
      auto ended = co_await waiting;
      CHECK(ended.code() == ECANCELED);
    }
  });
  horus::set_log_sink(std::move(previous));
}

TEST_CASE("thousands of connections come and go and leave the descriptors as they were") {
  run([]() -> Task<> {
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    auto serve = [](TcpListener& from) -> Task<int> {
      int served = 0;
      auto connections = from.connections();
      while (true) {
        auto connection = co_await connections.next();
        if (!connection || !connection->ok()) break;
        TcpStream stream = **std::move(connection);
        auto line = co_await stream.read_line();
        auto sent = co_await stream.write_all(std::move(line).value_or("nothing"));
        if (sent) ++served;
        if (served % 3 == 0) static_cast<void>(co_await stream.close());
      }
      co_return served;
    };
    horus::Scope scope;
    auto server = scope.spawn(serve(listener));
    int before = 0;
    for (int i = 0; i < 2'000; ++i) {
      auto connecting = TcpStream::connect(listener.local_address());
      auto client = (co_await connecting).or_throw();
      auto sent = co_await client.write_all("hello\n");
      auto answer = co_await client.read_all();
      REQUIRE(answer.ok());
      REQUIRE(*answer == "hello");
      auto closed = co_await client.close();
      if (i == 100) before = testing::open_descriptors_here();
    }
    CHECK(testing::open_descriptors_here() == before);
    listener.reset();
    auto served = co_await server;
    CHECK(served == 2'000);
  });
}

TEST_CASE(
    "a stream that is used on another thread than its own ends the program with a message that says so") {
  NEEDS_REAL_KERNEL("threads and processes");
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t pid = ::fork();
  REQUIRE(pid >= 0);
  if (pid == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::signal(SIGABRT, SIG_DFL);
    const horus::io::Reactor reactor;
    auto pair = horus::io::UnixStream::pair().or_throw();
    std::thread stranger([&pair] {
      horus::io::run([](horus::io::UnixStream& stream) -> Task<> {
        auto written = co_await stream.write_all("x");
        static_cast<void>(written);
      }(pair.first));
    });
    stranger.join();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string output;
  char buffer[1024];
  for (ssize_t got; (got = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    output.append(buffer, static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  CHECK(output.find("a stream was used on a thread that did not make it") != std::string::npos);
}

TEST_CASE("options are changed by the call that says so, on an object and on a temporary") {
  horus::io::ConnectOptions connect;
  connect.with_timeout(2_s).with_no_delay(false);
  CHECK(connect.timeout == 2_s);
  CHECK_FALSE(connect.no_delay);
  horus::io::ListenOptions listen;
  listen.with_backlog(1).with_reuse_port();
  CHECK(listen.backlog == 1);
  CHECK(listen.reuse_port);
  CHECK(horus::io::ConnectOptions().with_attempt_delay(1_s).with_timeout(3_s).timeout == 3_s);
}
