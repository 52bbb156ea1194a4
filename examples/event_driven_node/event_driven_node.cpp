// SPDX-License-Identifier: Apache-2.0
// A node without a rate is event-driven: its tick awaits input and is released again when it has handled it. A periodic
// node beside it keeps its grid, however long the other one waits.
#include <horus/horus.hpp>

using namespace horus::literals;

struct Command {
  std::string name;
  double speed = 0;
};

class Commands : public horus::Node {
 public:
  explicit Commands(horus::Channel<Command>& inbox) : Node("commands"), inbox_(inbox) {}
  horus::Task<> tick() override {
    auto command = (co_await inbox_.recv()).or_throw();  // waits as long as it takes
    fmt::print("command: {} at {} m/s\n", command.name, command.speed);
  }

 private:
  horus::Channel<Command>& inbox_;
};

int main() {
  horus::Channel<Command> inbox(8);
  horus::Scheduler scheduler;
  scheduler.add<Commands>(inbox).priority(1);
  // Somebody who gives commands now and then; a coroutine lambda is a node, too.
  scheduler.add("operator", [&]() -> horus::Task<> {
    co_await horus::sleep(50ms);
    Command forward{"forward", 0.5};
    auto sent = co_await inbox.send(std::move(forward));
    std::move(sent).or_throw();
  });
  scheduler.add("control", [] { /* steer */ }).rate(100_hz).priority(0);

  const int code = scheduler.run_for(300ms);
  fmt::print("{}", scheduler.status());
  return code;
}
