// SPDX-License-Identifier: Apache-2.0
#include "command_node.hpp"

namespace rover {

horus::Task<> CommandNode::init() {
  socket_ = horus::io::UdpSocket::bind(horus::io::Address::loopback_v4(port_)).or_throw();
  world_.command_address = socket_.local_address().or_throw().to_string();
  co_return;
}

horus::Task<> CommandNode::tick() {
  auto datagram = co_await socket_.recv_from(buffer_);
  const auto received = std::move(datagram).or_throw();
  const std::string_view text(reinterpret_cast<const char*>(buffer_.data()), received.size);
  const std::string answer = obey(world_, text, horus::now_ns()) + "\n";
  // Whoever has gone meanwhile needs no answer.
  static_cast<void>(co_await socket_.send_to(std::string_view(answer), received.from));
}

}  // namespace rover
