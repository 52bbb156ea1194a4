// SPDX-License-Identifier: Apache-2.0
// Names to addresses. The system's resolver blocks, so it runs on the thread pool while the loop goes on.
#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<> run() {
  auto looking_up = horus::io::resolve("localhost", 10110);
  auto addresses = co_await horus::with_timeout(5s, std::move(looking_up));
  for (const auto& address : std::move(addresses).or_throw())
    fmt::print("localhost: {}\n", address.to_string());

  // A numeric host gives itself at once; one that cannot exist says so.
  auto numeric = co_await horus::io::resolve("::1", 80);
  fmt::print("::1: {}\n", numeric->front().to_string());
  auto unknown = co_await horus::io::resolve("no such host", 80);
  fmt::print("{}\n", unknown.error().message());
}

int main() { horus::io::run(run()); }
