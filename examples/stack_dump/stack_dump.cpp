// SPDX-License-Identifier: Apache-2.0
// What does my program wait for? dump_tasks() prints every suspended task, with the operation at the end of its chain
// of awaits and the source line of each await on the way.
#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<> wait_for_button(horus::Event& button) { co_await button.wait(); }

horus::Task<> arm_the_robot(horus::Event& button) {
  auto waiting = wait_for_button(button);
  co_await waiting;
}

horus::Task<> heartbeat() { co_await horus::sleep(1h); }

horus::Task<> run() {
  horus::Event button;
  horus::Scope scope;
  auto arming = scope.spawn(arm_the_robot(button), "arming");
  auto beating = scope.spawn(heartbeat(), "heartbeat");
  co_await horus::yield();  // both are suspended now
  fmt::print("{}", horus::dump_tasks());

  button.set();
  co_await arming;
  fmt::print("after the button:\n{}", horus::dump_tasks());
  scope.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
