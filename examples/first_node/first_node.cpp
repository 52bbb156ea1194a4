// SPDX-License-Identifier: Apache-2.0
// Two nodes: a GPS receiver read over TCP whenever it has something to say, and a controller at 100 Hz that does not
// care how long that takes.
#include <horus/horus.hpp>

#include "receiver.hpp"  // a GPS receiver inside this program, so that it runs alone

using namespace horus::literals;

class Gps : public horus::Node {
  horus::io::TcpStream stream_;
  std::string address_;

 public:
  explicit Gps(std::string address) : Node("gps"), address_(std::move(address)) {}
  horus::Task<> init() override { stream_ = (co_await horus::io::TcpStream::connect(address_)).or_throw(); }
  horus::Task<> tick() override {  // no rate: event-driven, takes as long as it takes
    auto line = (co_await stream_.read_line()).or_throw();
    fmt::print("{}\n", line);
  }
};

int main() {
  const Receiver receiver;
  int steps = 0;
  auto steer = [&] { ++steps; };

  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  scheduler.add<Gps>(receiver.address());
  scheduler.add("control", [&] { steer(); }).rate(100_hz).priority(0);
  const int code = scheduler.run_for(1s);  // run() goes on until Ctrl-C
  fmt::print("steered {} times\n", steps);
  return code;
}
