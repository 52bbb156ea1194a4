// SPDX-License-Identifier: Apache-2.0
// Batches: readings are stored ten at a time, and none waits longer than 50 ms.
#include <horus/horus.hpp>

using namespace horus::literals;

using Readings = std::vector<double>;

horus::Task<horus::Result<>> store(Readings readings) {
  co_await horus::sleep(5ms);  // a write that costs the same for one and for ten
  fmt::print("stored {}\n", readings.size());
  co_return horus::Result<>();
}

horus::Task<> run() {
  horus::BatchProcessorOptions options;
  options.name = "readings";
  options.batch_size = 10;
  options.flush_interval = 50ms;
  options.max_pending = 40;  // then add() waits
  horus::BatchProcessor<double> batches(store, options);

  for (int i = 0; i < 23; ++i) {
    auto added = co_await batches.add(0.5 * i);
    std::move(added).or_throw();
  }
  co_await horus::sleep(100ms);  // the last three do not wait for others
  auto last = co_await batches.add(99);
  std::move(last).or_throw();
  auto closed = co_await batches.close();  // hands on what is left
  std::move(closed).or_throw();
  const auto stats = batches.stats();
  fmt::print("{} readings in {} batches\n", stats.processed, stats.batches);
}

int main() { horus::io::run(run()); }
