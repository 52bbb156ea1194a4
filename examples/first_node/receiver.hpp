// SPDX-License-Identifier: Apache-2.0
// Stands for a GPS receiver on the network: a thread of its own that sends a position every 200 ms to whoever connects.
#pragma once

#include <future>
#include <string>
#include <thread>

#include <horus/horus.hpp>

class Receiver {
 public:
  Receiver() : thread_([this] { serve(); }) { reactor_ = made_.get_future().get(); }
  ~Receiver() {
    reactor_->stop();
    thread_.join();
  }
  Receiver(const Receiver&) = delete;
  Receiver& operator=(const Receiver&) = delete;
  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  void serve() {
    horus::io::Reactor reactor;
    reactor.spawn(send_positions(reactor), "receiver");
    reactor.run();  // until stop(); what was spawned ends with the reactor
  }
  horus::Task<> send_positions(horus::io::Reactor& reactor) {
    auto listener = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
    address_ = listener.local_address().to_string();
    made_.set_value(&reactor);
    auto stream = (co_await listener.accept()).or_throw();
    horus::Interval every(std::chrono::milliseconds(200));
    for (int second = 225444;; ++second) {
      auto sent = co_await stream.write_all(fmt::format("$GPGLL,4916.45,N,12311.12,W,{},A\r\n", second));
      if (!sent) co_return;  // nobody reads any more
      co_await every.next();
    }
  }

  std::string address_;
  horus::io::Reactor* reactor_ = nullptr;
  std::promise<horus::io::Reactor*> made_;
  std::thread thread_;
};
