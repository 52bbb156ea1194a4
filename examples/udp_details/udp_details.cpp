// SPDX-License-Identifier: Apache-2.0
// UDP with what the kernel knows: when a datagram left and when it arrived, where it was sent to, and how many were lost.
// A lidar's driver measures its link with it.
#include <array>

#include <horus/horus.hpp>

using namespace horus::literals;
using horus::io::Bytes;
using horus::io::UdpOptions;
using horus::io::UdpSocket;

constexpr int kExpedited = 184;  // DSCP EF: ahead of everything else where the network knows it

// Answers from the address that the question was sent to, which matters on a machine with several.
horus::Task<> lidar(UdpSocket& socket) {
  std::array<char, 1500> buffer;
  while (true) {
    auto question = co_await socket.recv_detailed(buffer);
    if (!question) co_return;  // asked to stop
    horus::io::SendDetails details;
    details.from = question->to;
    details.interface = question->interface;
    auto sent = co_await socket.send_detailed("a scan", question->from, details);
    if (!sent) fmt::print("{}\n", sent.error().message());
  }
}

horus::Task<> run() {
  auto device = UdpSocket::bind("127.0.0.1:0", UdpOptions().with_details()).or_throw();
  const auto address = device.local_address().or_throw();
  horus::Scope scope;
  auto serving = scope.spawn(lidar(device), "lidar");

  const auto options = UdpOptions().with_details().with_traffic_class(kExpedited);
  auto socket = UdpSocket::bind("127.0.0.1:0", options).or_throw();
  std::array<char, 1500> buffer;
  for (int i = 0; i < 3; ++i) {
    const std::int64_t left_ns = (co_await socket.send_timed("scan please", address)).or_throw();
    auto scan = co_await horus::with_timeout(1s, socket.recv_detailed(buffer));
    if (!scan) {
      fmt::print("{}\n", scan.error().message());
      continue;
    }
    // Both times are the kernel's: the delays of this program's own loop are not in them.
    const bool plausible = scan->received_ns > left_ns && scan->received_ns - left_ns < 1'000'000'000;
    fmt::print("{} of {} bytes, there and back in a plausible time: {}, lost so far: {}\n", scan->to.host(),
               scan->size, plausible, scan->dropped);
  }
  scope.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
