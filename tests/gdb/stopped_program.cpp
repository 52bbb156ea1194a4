// SPDX-License-Identifier: Apache-2.0
// What gdb is to find: a loop with tasks that wait, that are ready, and a place to stop at.
#include <cerrno>

#include <horus/horus.hpp>

using namespace horus::literals;

// Where gdb stops, with values to print.
[[gnu::noinline]] void stop_here(const horus::Task<int>& lazy, const horus::Task<int>& none,
                                 const horus::Result<int>& good, const horus::Result<int>& bad) {
  asm volatile("" : : "g"(&lazy), "g"(&none), "g"(&good), "g"(&bad));
}

horus::Task<int> answer() { co_return 42; }

horus::Task<> read_the_sensor(horus::io::PipeReader& reader) {
  char buffer[16];
  auto size = co_await reader.read(buffer);
  static_cast<void>(size);
}

horus::Task<> drive(horus::Event& button) {
  auto waiting = [](horus::Event& event) -> horus::Task<> { co_await event.wait(); }(button);
  co_await waiting;
}

horus::Task<> count_to(int most) {
  for (int i = 0; i < most; ++i) co_await horus::yield();
}

horus::Task<> run() {
  auto pipe = horus::io::make_pipe().or_throw();
  horus::Event button;
  horus::Scope scope;
  auto reading = scope.spawn(read_the_sensor(pipe.reader), "sensor");
  auto driving = scope.spawn(drive(button), "driver");
  auto counting = scope.spawn(count_to(1'000'000), "counter");
  horus::Task<int> lazy = answer();
  horus::Task<int> none;
  horus::Result<int> good = 7;
  horus::Result<int> bad = horus::Error(ECONNREFUSED, "connect", "127.0.0.1:9");
  co_await horus::yield();
  co_await horus::yield();
  stop_here(lazy, none, good, bad);
  scope.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
