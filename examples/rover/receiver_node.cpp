// SPDX-License-Identifier: Apache-2.0
#include "receiver_node.hpp"

#include "receiver.hpp"

namespace rover {

using horus::Task;

Task<> ReceiverNode::init() {
  listener_ = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
  world_.gps.source = listener_.local_address().to_string();
  world_.gps.own_receiver = true;
  accepting_ = spawn(accept_all(), "receiver accepting");
  co_return;
}

Task<> ReceiverNode::accept_all() {
  while (true) {
    auto client = co_await listener_.accept();
    if (!client) co_return;
    if (clients_.size() < kMostClients) clients_.push_back(std::move(*client));
  }
}

Task<> ReceiverNode::tick() {
  const std::string epoch = receiver_epoch_now(world_.drive);
  for (size_t i = 0; i < clients_.size();) {  // by number: others may come while we wait
    auto sending = clients_[i].write_all(std::string(epoch));
    auto sent = co_await horus::with_timeout(std::chrono::milliseconds(50), std::move(sending));
    if (sent) {
      ++i;
    } else {
      clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(i));  // it left, or does not read
    }
  }
}

}  // namespace rover
