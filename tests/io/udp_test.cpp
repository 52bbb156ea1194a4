// SPDX-License-Identifier: Apache-2.0
#include <horus/io/udp.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <linux/time_types.h>
#include <netinet/in.h>

#include <doctest/doctest.h>

#include <horus/io/stream/control_data.hpp>
#include <horus/io/stream/udp_details.hpp>
#include <horus/io/time.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using horus::io::Address;
using horus::io::Datagram;
using horus::io::DatagramDetails;
using horus::io::SendDetails;
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

// --- What the kernel says beside the bytes ----------------------------------------------------------------------------

namespace {

constexpr std::int64_t kMinute_ns = 60'000'000'000;

// `local`: of both sockets.
Task<> detailed(const char* local, const char* host) {
  auto options = UdpOptions().with_details().with_traffic_class(0x28).with_ttl(17);
  auto server = UdpSocket::bind(local, options).or_throw();
  auto client = UdpSocket::bind(local, options).or_throw();
  const Address there = server.local_address().or_throw();
  const std::int64_t before = horus::wall_clock_ns();
  auto sent = co_await client.send_to("hello", there);
  CHECK(sent.ok());
  Buffer buffer;
  auto got = co_await server.recv_detailed(buffer);
  REQUIRE(got.ok());
  CHECK(text(buffer, *got) == "hello");
  CHECK_FALSE(got->truncated);
  CHECK(got->from == client.local_address().or_throw());
  CHECK(got->received_ns >= before);
  CHECK(got->received_ns <= horus::wall_clock_ns());
  CHECK(got->to.host() == host);
  CHECK(got->interface == 1);
  CHECK(got->dropped == 0);
  CHECK(got->traffic_class == 0x28);
  CHECK(got->ttl == 17);
  // One datagram otherwise than the socket's options say; answered from the address that it was sent to.
  SendDetails details;
  details.traffic_class = 0xb8;
  details.ttl = 3;
  details.from = got->to;
  details.interface = got->interface;
  auto answered = co_await server.send_detailed("HELLO", got->from, details);
  REQUIRE(answered.ok());
  CHECK(*answered == 5);
  auto cut = co_await client.recv_detailed(std::span(buffer).first(2));
  REQUIRE(cut.ok());
  CHECK(cut->truncated);
  CHECK(cut->size == 2);
  CHECK(cut->from == there);
  CHECK(cut->traffic_class == 0xb8);
  CHECK(cut->ttl == 3);
}

}  // namespace

TEST_CASE("a detailed receive tells time, destination, interface, traffic class and TTL over IPv4") {
  io::run(detailed("127.0.0.1:0", "127.0.0.1"));
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a detailed receive tells time, destination, interface, traffic class and TTL over IPv6") {
  io::run(detailed("[::1]:0", "::1"));
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a socket of both IP versions has the details of IPv4 datagrams too") {
  NEEDS_REAL_KERNEL("IPv4-mapped addresses");
  auto body = []() -> Task<> {
    auto both = UdpSocket::bind("[::]:0", UdpOptions().with_details().with_traffic_class(0x48).with_ttl(9))
                    .or_throw();
    auto client =
        UdpSocket::bind("127.0.0.1:0", UdpOptions().with_details().with_traffic_class(0x28)).or_throw();
    const auto port = both.local_address().or_throw().port();
    auto sent = co_await client.send_to("x", Address::loopback_v4(port));
    CHECK(sent.ok());
    Buffer buffer;
    auto got = co_await both.recv_detailed(buffer);
    REQUIRE(got.ok());
    CHECK(got->to.host() == "::ffff:127.0.0.1");
    CHECK(got->traffic_class == 0x28);
    CHECK(got->ttl == 64);
    SendDetails details;
    details.ttl = 5;
    details.from = got->to;
    auto answered = co_await both.send_detailed("y", got->from, details);
    REQUIRE(answered.ok());
    auto answer = co_await client.recv_detailed(buffer);
    REQUIRE(answer.ok());
    CHECK(answer->traffic_class == 0x48);
    CHECK(answer->ttl == 5);
    SendDetails through;
    through.interface = horus::io::interface_index("lo").or_throw();
    auto outward = co_await both.send_detailed("w", got->from, through);
    REQUIRE(outward.ok());
    auto arrived = co_await client.recv_detailed(buffer);
    REQUIRE(arrived.ok());
    CHECK(arrived->interface == through.interface);
    auto connecting = both.connect_to(got->from);
    (co_await connecting).or_throw();
    details.from = Address();
    details.interface = through.interface;
    details.traffic_class = 0x30;
    auto again = co_await both.send_detailed("z", {}, details);
    REQUIRE(again.ok());
    auto third = co_await client.recv_detailed(buffer);
    REQUIRE(third.ok());
    CHECK(third->traffic_class == 0x30);
  };
  io::run(body());
}

TEST_CASE("without options a detailed receive is a receive") {
  auto body = []() -> Task<> {
    auto a = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto sent = co_await a.send_to("x", a.local_address().or_throw());
    CHECK(sent.ok());
    Buffer buffer;
    auto got = co_await a.recv_detailed(buffer);
    REQUIRE(got.ok());
    CHECK(text(buffer, *got) == "x");
    CHECK(got->received_ns == 0);
    CHECK(got->to.family() == AF_UNSPEC);
    CHECK(got->interface == 0);
    CHECK(got->ttl == -1);
    CHECK(got->traffic_class == -1);
  };
  io::run(body());
}

TEST_CASE("datagrams that found no room are counted, and told with those that come later") {
  auto body = []() -> Task<> {
    UdpOptions options;
    options.count_drops = true;
    options.receive_buffer = 4096;
    auto socket = UdpSocket::bind("127.0.0.1:0", options).or_throw();
    const Address here = socket.local_address().or_throw();
    auto sender = UdpSocket::bind("127.0.0.1:0").or_throw();
    const std::string kilobyte(1024, 'x');
    constexpr std::uint32_t kSent = 400;
    for (std::uint32_t i = 0; i < kSent; ++i) (co_await sender.send_to(kilobyte, here)).or_throw();
    co_await horus::sleep(10ms);  // in a world they are on their way
    Buffer buffer;
    std::uint32_t received = 0;
    std::uint32_t dropped = 0;
    while (true) {
      auto got = co_await horus::with_timeout(20ms, socket.recv_detailed(buffer));
      if (!got) break;
      dropped = got->dropped;
      ++received;
    }
    (co_await sender.send_to("after", here)).or_throw();
    auto got = co_await socket.recv_detailed(buffer);
    REQUIRE(got.ok());
    CHECK(text(buffer, *got) == "after");
    CHECK(got->dropped > 0);
    CHECK(got->dropped == kSent - received);
    CHECK(dropped <= got->dropped);
  };
  io::run(body());
}

TEST_CASE("a detailed receive is cancelled, and ended by a close, as every receive") {
  auto body = []() -> Task<> {
    auto socket = UdpSocket::bind("127.0.0.1:0", UdpOptions().with_details()).or_throw();
    Buffer buffer;
    auto late = co_await horus::with_timeout(2ms, socket.recv_detailed(buffer));
    CHECK(late.code() == ETIMEDOUT);
    horus::Scope scope;
    int code = 0;
    auto wait = [](Task<Result<DatagramDetails>> receiving, int& ended) -> Task<> {
      auto got = co_await receiving;
      ended = got.code();
    };
    auto waiting = scope.spawn(wait(socket.recv_detailed(buffer), code), "waits");
    co_await horus::sleep(1ms);
    auto closing = socket.close();
    (co_await closing).or_throw();
    co_await scope.join();
    CHECK(code == ECANCELED);
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("numbers out of range and foreign addresses are refused before or by the kernel, with a reason") {
  auto body = []() -> Task<> {
    for (const auto& [traffic_class, ttl, priority] :
         {std::array{256, -1, -1}, {-2, -1, -1}, {-1, 0, -1}, {-1, 256, -1}, {-1, -1, -2}}) {
      UdpOptions options;
      options.traffic_class = traffic_class;
      options.ttl = ttl;
      options.priority = priority;
      auto refused = UdpSocket::bind("127.0.0.1:0", options);
      CHECK(refused.code() == EINVAL);
    }
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address here = socket.local_address().or_throw();
    SendDetails details;
    details.ttl = 0;
    auto no_hops = co_await socket.send_detailed("x", here, details);
    CHECK(no_hops.code() == EINVAL);
    CHECK(no_hops.error().message().find("ttl is 1 to 255") != std::string::npos);
    details = SendDetails();
    details.from = Address::parse("[::1]:0").or_throw();
    auto other_version = co_await socket.send_detailed("x", here, details);
    CHECK(other_version.code() == EINVAL);
    details.from = Address::parse("192.0.2.77:0").or_throw();
    auto foreign = co_await socket.send_detailed("x", here, details);
    CHECK((foreign.code() == EINVAL || foreign.code() == ENETUNREACH));  // by the kernel's version
    details = SendDetails();
    details.interface = 4711;
    auto nowhere = co_await socket.send_detailed("x", here, details);
    CHECK_FALSE(nowhere.ok());
    auto unconnected = co_await socket.send_detailed("x", {}, SendDetails());
    CHECK(unconnected.code() == EDESTADDRREQ);
    CHECK(io::interface_index("lo").or_throw() == 1);
    CHECK(io::interface_name(1).or_throw() == "lo");
    CHECK(io::interface_index("nothing0").code() == ENODEV);
    CHECK(io::interface_name(4711).code() == ENXIO);
  };
  io::run(body());
}

TEST_CASE("control data that did not fit are an error that says so, and the next datagram is whole") {
  auto body = []() -> Task<> {
    auto socket = UdpSocket::bind("127.0.0.1:0", UdpOptions().with_details()).or_throw();
    const Address here = socket.local_address().or_throw();
    for (int i = 0; i < 2; ++i) (co_await socket.send_to("x", here)).or_throw();
    Buffer buffer;
    auto receiving = io::detail::receive_detailed(socket.fd(), buffer, 40);
    auto cut = co_await receiving;
    CHECK(cut.code() == EMSGSIZE);
    CHECK(cut.error().message().find("control data did not fit") != std::string::npos);
    auto whole = co_await socket.recv_detailed(buffer);
    REQUIRE(whole.ok());
    CHECK(whole->ttl == 64);
  };
  io::run(body());
}

TEST_CASE("hostile lengths and times in control data are refused, and nothing is read beyond its end") {
  std::vector<char> control(CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in_pktinfo)));
  io::detail::ControlWriter writer(control.data(), control.size());
  REQUIRE(writer.put(IPPROTO_IP, IP_TTL, 7));
  REQUIRE(writer.put(IPPROTO_IP, IP_PKTINFO, in_pktinfo{}));
  CHECK_FALSE(writer.put(IPPROTO_IP, IP_TTL, 7));
  CHECK(writer.used() == control.size());
  const auto reads = [](std::vector<char> bytes) {  // a copy of its own size: the sanitizer sees its end
    msghdr message{};
    message.msg_control = bytes.data();
    message.msg_controllen = bytes.size();
    io::DatagramDetails details;
    io::detail::TransmitTime time;
    const bool one = io::detail::read_details(message, details);
    const bool other = io::detail::read_transmit_time(message, time);
    return one && other;
  };
  CHECK(reads(control));
  CHECK(reads({}));
  for (std::size_t size = 1; size < control.size(); ++size) {
    CAPTURE(size);
    const bool whole = size >= CMSG_LEN(sizeof(int)) && size <= CMSG_SPACE(sizeof(int));
    const bool both = size >= CMSG_SPACE(sizeof(int)) + CMSG_LEN(sizeof(in_pktinfo));
    CHECK(reads({control.begin(), control.begin() + static_cast<std::ptrdiff_t>(size)}) == (whole || both));
  }
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{1}, CMSG_LEN(0) - 1, control.size() + 1, SIZE_MAX}) {
    CAPTURE(length);
    std::vector<char> hostile = control;
    std::memcpy(hostile.data() + offsetof(cmsghdr, cmsg_len), &length, sizeof length);
    REQUIRE_FALSE(reads(hostile));
  }
  const auto time_of = [&](std::int64_t seconds, std::int64_t nanoseconds) {
    std::vector<char> bytes(CMSG_SPACE(sizeof(__kernel_timespec)));
    io::detail::ControlWriter out(bytes.data(), bytes.size());
    out.put(SOL_SOCKET, SO_TIMESTAMPNS_NEW, __kernel_timespec{seconds, nanoseconds});
    return reads(bytes);
  };
  CHECK(time_of(0, 0));
  CHECK(time_of(1'900'000'000, 999'999'999));
  CHECK_FALSE(time_of(-1, 0));
  CHECK_FALSE(time_of(INT64_MAX, 0));
  CHECK_FALSE(time_of(0, -1));
  CHECK_FALSE(time_of(0, 1'000'000'000));
}

TEST_CASE("a timed send gives the time at which the datagram left, again and again") {
  for (const char* local : {"127.0.0.1:0", "[::1]:0"}) {
    CAPTURE(local);
    auto body = [&]() -> Task<> {
      auto server = UdpSocket::bind(local, UdpOptions().with_details()).or_throw();
      auto client = UdpSocket::bind(local).or_throw();
      const Address there = server.local_address().or_throw();
      Buffer buffer;
      std::int64_t last = horus::wall_clock_ns();
      for (int i = 0; i < 20; ++i) {
        auto sent = co_await client.send_timed("x", there);
        REQUIRE(sent.ok());
        CHECK(*sent >= last);
        last = *sent;
        auto plain = co_await client.send_to("without a time", there);
        CHECK(plain.ok());
        auto got = co_await server.recv_detailed(buffer);
        REQUIRE(got.ok());
        CHECK(got->received_ns >= *sent);
        CHECK(got->received_ns - *sent < kMinute_ns);
        auto second = co_await server.recv_detailed(buffer);
        CHECK(second.ok());
      }
      auto connecting = client.connect_to(there);
      (co_await connecting).or_throw();
      auto connected = co_await client.send_timed("x");
      CHECK(connected.ok());
    };
    io::run(body());
  }
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a receive that waits is not disturbed by the transmit times of its socket") {
  auto body = []() -> Task<> {
    auto peer = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address there = peer.local_address().or_throw();
    const Address here = socket.local_address().or_throw();
    Buffer buffer;
    Buffer other;
    for (int i = 0; i < 50; ++i) {
      horus::Scope scope;
      std::string got;
      auto wait = [](UdpSocket& one, Buffer& room, std::string& bytes) -> Task<> {
        auto datagram = co_await one.recv_from(room);
        bytes = datagram ? std::string(text(room, *datagram)) : datagram.error().message();
      };
      auto waiting = scope.spawn(wait(socket, buffer, got), "waits");
      co_await horus::sleep(100us);
      for (int k = 0; k < 3; ++k) {
        auto sent = co_await socket.send_timed("x", there);
        CHECK(sent.ok());
        auto arrived = co_await peer.recv_from(other);
        CHECK(arrived.ok());
      }
      CHECK(got.empty());
      auto answer = co_await peer.send_to("answer", here);
      CHECK(answer.ok());
      co_await scope.join();
      CHECK(got == "answer");
    }
  };
  io::run(body());
}

TEST_CASE("transmit times that nobody waited for are not taken for those of later sends") {
  auto body = []() -> Task<> {
    auto peer = UdpSocket::bind("127.0.0.1:0").or_throw();
    const Address there = peer.local_address().or_throw();
    auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
    auto first = co_await socket.send_timed("x", there);
    REQUIRE(first.ok());
    // Stopped behind its send: its time lies in the error queue, and nobody takes it.
    auto stopped = co_await horus::with_timeout(0ns, socket.send_timed("stopped", there));
    REQUIRE(stopped.code() == ETIMEDOUT);
    Buffer buffer;
    for (const std::string_view text_sent : {"x", "stopped"}) {
      auto got = co_await peer.recv_from(buffer);
      REQUIRE(got.ok());
      CHECK(text(buffer, *got) == text_sent);
    }
    co_await horus::sleep(2ms);
    const std::int64_t before = horus::wall_clock_ns();
    auto second = co_await socket.send_timed("x", there);
    REQUIRE(second.ok());
    CHECK(*second >= before);
  };
  io::run(body());
}
