// SPDX-License-Identifier: Apache-2.0
// UDP: a rover that listens for commands on a port, and an operator who sends some and waits for the answers.
#include <array>

#include <horus/horus.hpp>

using namespace horus::literals;
using horus::io::UdpSocket;

horus::Task<> rover(UdpSocket& socket) {
  std::array<char, 1500> buffer;
  while (true) {
    auto datagram = co_await socket.recv_from(std::as_writable_bytes(std::span(buffer)));
    if (!datagram) co_return;  // asked to stop
    const std::string_view command(buffer.data(), datagram->size);
    const std::string answer = command == "stop" ? "stopped" : fmt::format("unknown command \"{}\"", command);
    auto sent = co_await socket.send_to(answer, datagram->from);
    if (!sent) fmt::print("{}\n", sent.error().message());
  }
}

horus::Task<std::string> ask(UdpSocket& socket, std::string_view command) {
  auto sent = co_await socket.send(command);
  std::move(sent).or_throw();
  std::array<char, 1500> buffer;
  auto datagram = co_await socket.recv_from(std::as_writable_bytes(std::span(buffer)));
  const std::size_t size = std::move(datagram).or_throw().size;
  co_return std::string(buffer.data(), size);
}

horus::Task<> run() {
  auto listening = UdpSocket::bind("127.0.0.1:0").or_throw();  // port 0: the kernel chooses one
  const auto address = listening.local_address().or_throw();
  horus::Scope scope;
  auto serving = scope.spawn(rover(listening), "rover");

  auto socket = (co_await UdpSocket::connect(address)).or_throw();
  for (const std::string_view command : {"stop", "dance"}) {
    // Datagrams get lost: never wait for one without a limit.
    auto answer = co_await horus::with_timeout(1s, ask(socket, command));
    fmt::print("{} -> {}\n", command, answer ? *answer : answer.error().message());
  }
  scope.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
