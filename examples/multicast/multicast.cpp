// SPDX-License-Identifier: Apache-2.0
// Multicast: robots that find each other. Each says its name to a group, and hears the others. The loopback interface does
// here; on a robot name its network's: `multicast eth0`.
#include <array>
#include <set>

#include <horus/horus.hpp>

using namespace horus::literals;
using horus::io::Address;
using horus::io::UdpOptions;
using horus::io::UdpSocket;

constexpr const char* kGroup = "239.255.77.1:7477";  // 239.255.0.0/16 stays within a site (RFC 2365)

horus::Task<> announce(std::string name, std::string interface) {
  const Address group = Address::parse(kGroup).or_throw();
  auto socket = UdpSocket::bind("0.0.0.0:0").or_throw();
  socket.set_multicast_interface(interface).or_throw();  // else the routing table chooses
  socket.set_multicast_hops(1).or_throw();               // not beyond this network
  horus::Interval every(20ms);
  while (true) {
    auto sent = co_await socket.send_to(name, group);
    if (!sent) co_return;  // asked to stop
    co_await every.next();
  }
}

horus::Task<> run(std::string interface) {
  const Address group = Address::parse(kGroup).or_throw();
  // Bound to the group itself: what others send to this port and not to the group is not heard.
  auto options = UdpOptions().with_details().with_reuse_address();
  auto socket = UdpSocket::bind(group, options).or_throw();
  socket.join(group, interface).or_throw();
  horus::Scope scope;
  auto arm = scope.spawn(announce("arm", interface), "arm");
  auto base = scope.spawn(announce("base", interface), "base");

  std::set<std::string> robots;
  std::array<char, 256> buffer;
  while (robots.size() < 2) {
    auto heard = co_await horus::with_timeout(2s, socket.recv_detailed(buffer));
    if (!heard) {
      fmt::print("{}\n", heard.error().message());
      break;
    }
    const std::string via = horus::io::interface_name(heard->interface).or_throw();
    if (via == interface) robots.insert(std::string(buffer.data(), heard->size));
  }
  for (const std::string& robot : robots) fmt::print("{} is there\n", robot);
  socket.leave(group, interface).or_throw();
  scope.cancel();
  co_await scope.join();
}

int main(int argc, char** argv) {
  try {
    horus::io::run(run(argc > 1 ? argv[1] : "lo"));
  } catch (const horus::Error& error) {
    fmt::print(stderr, "{}\n", error.message());
    return 1;
  }
}
