// SPDX-License-Identifier: Apache-2.0
// Signals as values: awaited like anything else, no handlers. (Under Scheduler::run, SIGINT and SIGTERM stop
// gracefully by themselves.)
#include <csignal>

#include <unistd.h>

#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<> somebody_sends_signals() {
  for (const int number : {SIGHUP, SIGUSR1, SIGTERM}) {
    co_await horus::sleep(20ms);
    ::kill(::getpid(), number);
  }
}

horus::Task<> serve() {
  horus::io::SignalSet signals{SIGHUP, SIGUSR1, SIGTERM};
  horus::Scope scope;
  auto sender = scope.spawn(somebody_sends_signals());
  for (bool running = true; running;) {
    auto signal = (co_await signals.next()).or_throw();
    fmt::print("{}: ", horus::io::signal_name(signal.number));
    switch (signal.number) {
      case SIGHUP: fmt::print("read the configuration again\n"); break;
      case SIGUSR1: fmt::print("print the state\n"); break;
      default: fmt::print("stop\n"); running = false;
    }
  }
  co_await scope.join();
}

int main() { horus::io::run(serve()); }
