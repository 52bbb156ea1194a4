// SPDX-License-Identifier: Apache-2.0
#include <horus/io/udp.hpp>

#include <array>
#include <span>
#include <string>
#include <string_view>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>

using horus::Result;
using horus::Task;
using horus::io::Address;
using horus::io::Datagram;
using horus::io::UdpOptions;
using horus::io::UdpSocket;
using namespace horus::literals;
namespace io = horus::io;

namespace {

using Buffer = std::array<char, 2048>;

std::string_view text(const Buffer& buffer, const Datagram& datagram) {
  return {buffer.data(), datagram.size};
}

Task<Result<Datagram>> receive(UdpSocket& socket, std::span<char> buffer) {
  auto datagram = co_await socket.recv_from(buffer);
  co_return datagram;
}

Task<> echo(const char* local) {
  auto server = UdpSocket::bind(local).or_throw();
  auto client = UdpSocket::bind(local).or_throw();
  const Address server_address = server.local_address().or_throw();
  const Address client_address = client.local_address().or_throw();
  CHECK(server_address.port() != 0);
  Buffer buffer;
  auto sent = co_await client.send_to("hello", server_address);
  CHECK(*sent == 5);
  auto request = co_await server.recv_from(buffer);
  REQUIRE(request.ok());
  CHECK(text(buffer, *request) == "hello");
  CHECK(request->from == client_address);
  CHECK_FALSE(request->truncated);
  auto answered = co_await server.send_to("HELLO", request->from);
  CHECK(answered.ok());
  auto answer = co_await client.recv_from(buffer);
  REQUIRE(answer.ok());
  CHECK(text(buffer, *answer) == "HELLO");
  CHECK(answer->from == server_address);
}

}  // namespace

TEST_CASE("datagrams go there and back over IPv4") {
  io::run(echo("127.0.0.1:0"));
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("datagrams go there and back over IPv6") {
  io::run(echo("[::1]:0"));
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("an empty datagram is a datagram") {
  auto body = []() -> Task<> {
    auto a = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address to = a.local_address().or_throw();
    auto b = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto sent = co_await b.send_to("", to);
    REQUIRE(sent.ok());
    CHECK(*sent == 0);
    auto second = co_await b.send_to("x", to);
    CHECK(second.ok());
    Buffer buffer;
    auto empty = co_await a.recv_from(buffer);
    REQUIRE(empty.ok());
    CHECK(empty->size == 0);
    CHECK_FALSE(empty->truncated);
    auto next = co_await a.recv_from(buffer);
    REQUIRE(next.ok());
    CHECK(text(buffer, *next) == "x");
  };
  io::run(body());
}

TEST_CASE("a datagram longer than the buffer is cut and says so, and the next one is whole") {
  auto body = []() -> Task<> {
    auto a = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address to = a.local_address().or_throw();
    auto b = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto first = co_await b.send_to("0123456789", to);
    auto second = co_await b.send_to("abc", to);
    CHECK(first.ok());
    CHECK(second.ok());
    Buffer buffer;
    auto cut = co_await a.recv_from(std::span(buffer).first(4));
    REQUIRE(cut.ok());
    CHECK(text(buffer, *cut) == "0123");
    CHECK(cut->truncated);
    auto whole = co_await a.recv_from(std::span(buffer).first(4));
    REQUIRE(whole.ok());
    CHECK(text(buffer, *whole) == "abc");
    CHECK_FALSE(whole->truncated);
  };
  io::run(body());
}

TEST_CASE("a connected socket hears its peer alone") {
  auto body = []() -> Task<> {
    auto peer = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto stranger = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto connecting = UdpSocket::connect(peer.local_address().or_throw());
    auto socket = (co_await connecting).or_throw();
    CHECK(socket.peer_address().or_throw() == peer.local_address().or_throw());
    const Address here = socket.local_address().or_throw();
    auto unwanted = co_await stranger.send_to("from a stranger", here);
    CHECK(unwanted.ok());
    auto wanted = co_await peer.send_to("from the peer", here);
    CHECK(wanted.ok());
    Buffer buffer;
    auto got = co_await socket.recv(buffer);
    REQUIRE(got.ok());
    CHECK(text(buffer, *got) == "from the peer");
    CHECK(got->from == peer.local_address().or_throw());
    auto sent = co_await socket.send("and back");
    CHECK(sent.ok());
    auto back = co_await peer.recv_from(buffer);
    REQUIRE(back.ok());
    CHECK(text(buffer, *back) == "and back");
  };
  io::run(body());
}

TEST_CASE("a peer without a listener is ECONNREFUSED on a connected socket, which stays usable") {
  auto body = []() -> Task<> {
    auto listener = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address there = listener.local_address().or_throw();
    auto closing = listener.close();
    auto closed = co_await closing;
    CHECK(closed.ok());
    auto connecting = UdpSocket::connect(there);
    auto socket = (co_await connecting).or_throw();
    auto sent = co_await socket.send("anybody?");
    CHECK(sent.ok());
    Buffer buffer;
    auto refused = co_await socket.recv(buffer);
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.code() == ECONNREFUSED);
    CHECK(refused.error().target() == there.to_string());
    auto again = UdpSocket::bind(there).or_throw();
    auto resent = co_await socket.send("now?");
    CHECK(resent.ok());
    auto heard = co_await again.recv_from(buffer);
    REQUIRE(heard.ok());
    CHECK(text(buffer, *heard) == "now?");
  };
  io::run(body());
}

TEST_CASE("the peer of a bound socket can be changed") {
  auto body = []() -> Task<> {
    auto a = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto b = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    Buffer buffer;
    for (UdpSocket* peer : {&a, &b}) {
      auto connecting = socket.connect_to(peer->local_address().or_throw());
      auto connected = co_await connecting;
      REQUIRE(connected.ok());
      auto sent = co_await socket.send("x");
      CHECK(sent.ok());
      auto got = co_await peer->recv_from(buffer);
      CHECK(got.ok());
    }
  };
  io::run(body());
}

TEST_CASE("sending on an unconnected socket, or too much, is refused with a reason") {
  auto body = []() -> Task<> {
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto nowhere = co_await socket.send("x");
    CHECK(nowhere.code() == EDESTADDRREQ);
    const std::string huge(70'000, 'x');
    auto too_long = co_await socket.send_to(huge, socket.local_address().or_throw());
    REQUIRE_FALSE(too_long.ok());
    CHECK(too_long.code() == EMSGSIZE);
    CHECK(too_long.error().target() == socket.local_address().or_throw().to_string());
  };
  io::run(body());
}

TEST_CASE("an address in use is an error that names it, unless it may be shared") {
  auto body = []() -> Task<> {
    auto first = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto second = UdpSocket::bind(first.local_address().or_throw());
    REQUIRE_FALSE(second.ok());
    CHECK(second.code() == EADDRINUSE);
    CHECK(second.error().message().find(first.local_address().or_throw().to_string()) != std::string::npos);
    const UdpOptions shared = UdpOptions().with_reuse_port();
    auto third = UdpSocket::bind("127.0.0.1:0", shared).or_throw();
    CHECK(UdpSocket::bind(third.local_address().or_throw(), shared).ok());
    CHECK(UdpSocket::bind("nonsense").code() != 0);
    CHECK(UdpSocket::bind("unix:/tmp/x").code() == EAFNOSUPPORT);
    auto connecting = UdpSocket::connect("nonsense");
    auto bad = co_await connecting;
    CHECK_FALSE(bad.ok());
  };
  io::run(body());
}

TEST_CASE("broadcasts need the option") {
  auto body = []() -> Task<> {
    auto socket = UdpSocket::bind("0.0.0.0:0").or_throw();
    const Address everybody = Address::ip("127.255.255.255", 9).or_throw();
    auto refused = co_await socket.send_to("x", everybody);
    CHECK(refused.code() == EACCES);
    CHECK(socket.set_broadcast(true).ok());
    auto sent = co_await socket.send_to("x", everybody);
    CHECK(sent.ok());
  };
  io::run(body());
}

TEST_CASE("members of a multicast group hear what is sent to it, and no more after leaving") {
  auto body = [](const char* local, const char* group_host) -> Task<> {
    auto member = UdpSocket::bind(local).or_throw();
    auto sender = UdpSocket::bind(local).or_throw();
    const Address group = Address::ip(group_host, member.local_address().or_throw().port()).or_throw();
    auto joined = member.join(group, "lo");
    REQUIRE(joined.ok());
    CHECK(sender.set_multicast_interface("lo").ok());
    CHECK(sender.set_multicast_hops(1).ok());
    CHECK(sender.set_multicast_loopback(true).ok());
    Buffer buffer;
    auto sent = co_await sender.send_to("to all", group);
    if (sent.code() == ENETUNREACH || sent.code() == EADDRNOTAVAIL) co_return;  // no IPv6 on this machine
    REQUIRE(sent.ok());
    auto got = co_await member.recv_from(buffer);
    REQUIRE(got.ok());
    CHECK(text(buffer, *got) == "to all");
    CHECK(member.leave(group, "lo").ok());
    auto unheard = co_await sender.send_to("gone", group);
    CHECK(unheard.ok());
    auto silence = co_await horus::with_timeout(2ms, receive(member, buffer));
    CHECK(silence.code() == ETIMEDOUT);
    CHECK(member.leave(group, "lo").code() == EADDRNOTAVAIL);
    CHECK(member.join(group, "no-such-interface").code() == ENODEV);
  };
  io::run(body("0.0.0.0:0", "239.255.17.4"));
  io::run(body("[::]:0", "ff11::17:4"));
}

TEST_CASE("destroying a socket ends its pending receive, and a cancelled receive loses nothing") {
  auto body = []() -> Task<> {
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    Buffer buffer;
    auto late = co_await horus::with_timeout(1ms, receive(socket, buffer));
    CHECK(late.code() == ETIMEDOUT);
    auto sent = co_await socket.send_to("kept", socket.local_address().or_throw());
    CHECK(sent.ok());
    auto got = co_await socket.recv_from(buffer);
    REQUIRE(got.ok());
    CHECK(text(buffer, *got) == "kept");

    horus::Scope scope;
    auto pending = scope.spawn(receive(socket, buffer));
    co_await horus::sleep(1ms);
    socket = UdpSocket();
    auto ended = co_await pending;
    CHECK(ended.code() == ECANCELED);
    co_await scope.join();
    auto nothing = co_await socket.recv_from(buffer);
    CHECK(nothing.code() == EBADF);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
