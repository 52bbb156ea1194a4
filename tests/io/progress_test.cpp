// SPDX-License-Identifier: Apache-2.0
// Descriptors that say they are ready and give nothing, for as long as nobody changes that: they cost the loop neither its
// timers nor its processor.
#include <array>
#include <cerrno>
#include <ctime>
#include <string>

#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/poll.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/io/udp.hpp>
#include <horus/io/unix.hpp>
#include <horus/io/unix_datagram.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using horus::io::Bytes;
using horus::io::UdpSocket;
using horus::io::UnixDatagram;
using namespace horus::literals;

namespace {

constexpr int kTicks = 40;

// What the loop can still do in its spare time: it enters the backend a few times per tick, not as often as it can.
Task<> check_that_the_loop_is_calm() {
  horus::io::Reactor& reactor = *horus::io::Reactor::current();
  co_await horus::sleep(20ms);
  const horus::io::Statistics before = reactor.statistics();
  timespec cpu_before{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu_before);
  for (int i = 0; i < kTicks; ++i) co_await horus::sleep(5ms);
  timespec cpu{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  const double spent_ms = static_cast<double>(cpu.tv_sec - cpu_before.tv_sec) * 1e3 +
                          static_cast<double>(cpu.tv_nsec - cpu_before.tv_nsec) / 1e6;
  CHECK(reactor.statistics().enters - before.enters < 20 * kTicks);
  CHECK(spent_ms < 100);  // of 200
}

Task<Result<std::size_t>> send_until_full(UnixDatagram& log, const horus::io::Address& to) {
  while (true) {
    auto sent = co_await log.send_to(Bytes("<30>message"), to);
    if (!sent) co_return sent.error();
  }
}

Task<Result<horus::io::Datagram>> receive(UdpSocket& socket) {
  std::array<std::byte, 64> room;
  auto datagram = co_await socket.recv_from(room);
  co_return datagram;
}

Task<Result<std::string>> read_line(horus::io::TcpStream& stream) {
  auto line = co_await stream.read_line();
  co_return line;
}

}  // namespace

TEST_CASE("a datagram to a full receiver waits without holding the loop up, and goes when there is room") {
  NEEDS_REAL_KERNEL("the kernel's own idea of a writable datagram socket");
  horus::io::run([]() -> Task<> {
    const std::string name = "@horus-progress-" + std::to_string(::getpid());
    auto receiver = UnixDatagram::bind(name).or_throw();
    auto log = UnixDatagram::open().or_throw();
    const auto to = horus::io::Address::unix_abstract(name.substr(1)).or_throw();
    horus::Scope scope("senders", horus::Failures::log);
    scope.spawn(send_until_full(log, to));
    auto calm = check_that_the_loop_is_calm();
    co_await calm;
    // A time limit ends such a wait too.
    auto late = co_await horus::with_timeout(20ms, send_until_full(log, to));
    CHECK(late.code() == ETIMEDOUT);
    std::string room(64, '\0');
    for (int i = 0; i < 30; ++i) {
      auto got = co_await horus::with_timeout(5s, receiver.recv_from(room));
      CHECK(got.ok());
    }
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("an error queue that nobody reads holds nothing up, and data still arrives") {
  NEEDS_REAL_KERNEL("SO_TIMESTAMPING");
  horus::io::run([]() -> Task<> {
    auto dead = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    REQUIRE(::setsockopt(socket.fd(), SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) == 0);
    auto sent = co_await socket.send_to(Bytes("ptp"), dead.local_address().or_throw());
    CHECK(sent.ok());
    auto late = co_await horus::with_timeout(20ms, receive(socket));
    CHECK(late.code() == ETIMEDOUT);  // not EINTR, whichever thread of the kernel waited
    horus::Scope scope;
    auto receiving = scope.spawn(receive(socket));
    auto calm = check_that_the_loop_is_calm();
    co_await calm;
    CHECK_FALSE(receiving.done());
    sent = co_await dead.send_to(Bytes("data"), socket.local_address().or_throw());
    CHECK(sent.ok());
    auto got = co_await receiving;
    CHECK(got.ok());
    co_await scope.join();
  });
}

TEST_CASE("a stream with an error queue that nobody reads is read as ever") {
  NEEDS_REAL_KERNEL("SO_TIMESTAMPING");
  horus::io::run([]() -> Task<> {
    auto listener = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
    auto connecting = horus::io::TcpStream::connect(listener.local_address());
    auto near = (co_await connecting).or_throw();
    auto accepting = listener.accept();
    auto far = (co_await accepting).or_throw();
    const int stamps = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    REQUIRE(::setsockopt(near.fd(), SOL_SOCKET, SO_TIMESTAMPING, &stamps, sizeof stamps) == 0);
    auto written = co_await near.write_all(std::string("hello"));
    CHECK(written.ok());
    horus::Scope scope;
    auto reading = scope.spawn(read_line(near));
    auto calm = check_that_the_loop_is_calm();
    co_await calm;
    written = co_await far.write_all(std::string("answer\n"));
    CHECK(written.ok());
    auto line = co_await reading;
    REQUIRE(line.ok());
    CHECK(*line == "answer");
    co_await scope.join();
  });
}

TEST_CASE("waiting for room on a socket whose peer has sent its end waits for room") {
  NEEDS_REAL_KERNEL("POLLRDHUP unasked");
  horus::io::run([]() -> Task<> {
    auto [near, far] = horus::io::UnixStream::pair().or_throw();
    REQUIRE(::shutdown(far.fd(), SHUT_WR) == 0);
    const std::string much(65536, 'x');
    while (::send(near.fd(), much.data(), much.size(), MSG_DONTWAIT) > 0) {
    }
    horus::Scope scope;
    auto waiting = scope.spawn(horus::io::wait_writable(near.fd()));
    auto calm = check_that_the_loop_is_calm();
    co_await calm;
    CHECK_FALSE(waiting.done());
    auto end = co_await horus::with_timeout(5s, horus::io::wait_for(near.fd(), POLLRDHUP));
    REQUIRE(end.ok());
    CHECK((*end & POLLRDHUP) != 0);  // asked for, it is told at once
    std::string room(much.size(), '\0');
    while (::recv(far.fd(), room.data(), room.size(), MSG_DONTWAIT) > 0) {
    }
    auto ready = co_await waiting;
    REQUIRE(ready.ok());
    CHECK((*ready & POLLOUT) != 0);
    co_await scope.join();
  });
}
