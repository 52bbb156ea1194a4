// SPDX-License-Identifier: Apache-2.0
// Aggregator: a start-up check asks all sensors at once and says which ones are there, which are not, and which are late.
#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<std::string> ask_imu() {
  co_await horus::sleep(5ms);
  co_return "200 Hz";
}

horus::Task<std::string> ask_gps() {
  co_await horus::sleep(1h);  // no fix yet
  co_return "9 satellites";
}

horus::Task<std::string> ask_lidar() {
  co_await horus::sleep(1ms);
  throw horus::Error(ENODEV, "open", "/dev/lidar");
}

horus::Task<> run() {
  horus::Aggregator<std::string> sensors;
  sensors.add("imu", ask_imu());
  sensors.add("gps", ask_gps());
  sensors.add("lidar", ask_lidar());

  auto answers = co_await sensors.results(100ms);
  for (const auto& [name, answer] : answers.values) fmt::print("{}: {}\n", name, answer);
  for (const auto& [name, failure] : answers.failures) fmt::print("{}: {}\n", name, failure.text);
  for (const auto& name : answers.pending) fmt::print("{}: no answer yet\n", name);

  co_await sensors.close();  // stops what still runs
}

int main() { horus::io::run(run()); }
