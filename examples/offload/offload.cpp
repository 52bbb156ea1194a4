// SPDX-License-Identifier: Apache-2.0
// Offload: a function that blocks or computes for long runs on a thread pool, while the loop goes on.
#include <chrono>
#include <thread>

#include <horus/horus.hpp>

using namespace horus::literals;

// Somebody else's driver: it blocks, and knows nothing of coroutines.
double read_slow_sensor(int channel) {
  std::this_thread::sleep_for(100ms);
  return 20.0 + channel;
}

// What the function needs goes in as arguments, not as captures (see CONTRIBUTING.md for why).
horus::Task<double> temperature(int channel) {
  auto value = co_await horus::io::offload(read_slow_sensor, channel);
  co_return std::move(value).or_throw();
}

horus::Task<> heartbeat(int& beats) {
  horus::Interval every(10ms);
  while (true) {
    co_await every.next();
    ++beats;
  }
}

horus::Task<> run() {
  int beats = 0;
  horus::Scope scope;
  auto beating = scope.spawn(heartbeat(beats), "heartbeat");
  const std::int64_t start = horus::now_ns();
  auto [front, rear] = co_await horus::when_all(temperature(1), temperature(2));
  fmt::print("front {} °C, rear {} °C\n", front, rear);
  fmt::print("two calls of 100 ms side by side: less than 190 ms: {}\n",
             horus::now_ns() - start < 190'000'000);
  fmt::print("the loop went on meanwhile: {}\n", beats >= 5);
  scope.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
