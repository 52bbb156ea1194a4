// SPDX-License-Identifier: Apache-2.0
// How a scheduler stops: on Ctrl-C, SIGTERM or stop(), from any thread. No more releases; the tick of a periodic node
// may finish, the wait of an event-driven one is cancelled; then the nodes shut down in reverse order.
#include <csignal>
#include <thread>

#include <unistd.h>

#include <horus/horus.hpp>

using namespace horus::literals;

class Motor : public horus::Node {
 public:
  Motor() : Node("motor") {}
  horus::Task<> init() override {
    fmt::print("motor: on\n");
    co_return;
  }
  horus::Task<> tick() override {  // in flight when the stop comes: it may finish
    co_await horus::sleep(60ms);
    ++moves_;
  }
  horus::Task<> shutdown() override {
    co_await horus::sleep(10ms);  // a shutdown may await, too
    fmt::print("motor: off after {} whole moves\n", moves_);
  }

 private:
  int moves_ = 0;
};

class Radio : public horus::Node {
 public:
  Radio() : Node("radio") {}
  horus::Task<> tick() override {
    co_await horus::sleep(1h);
  }  // event-driven: waits for something that never comes
  horus::Task<> shutdown() override {
    fmt::print("radio: off\n");
    co_return;
  }
};

int main() {
  horus::Scheduler scheduler;
  scheduler.add<Motor>().rate(10_hz);
  scheduler.add<Radio>();
  std::thread supervisor([] {
    std::this_thread::sleep_for(230ms);
    ::kill(::getpid(), SIGTERM);  // what systemd, or `kill`, would do
  });
  const int code = scheduler.run();
  supervisor.join();
  fmt::print("stopped with exit code {}\n", code);
  return code;
}
