// SPDX-License-Identifier: Apache-2.0
#include "health_node.hpp"

#include <cerrno>

#include <horus/io/file_contents.hpp>

namespace rover {

horus::Task<> HealthNode::tick() {
  auto stat = co_await horus::io::read_file(kStatFile);
  if (stat) input_.take_stat(world_.health, *stat);
  auto meminfo = co_await horus::io::read_file(kMeminfoFile);
  if (meminfo) input_.take_meminfo(world_.health, *meminfo);
  auto status = co_await horus::io::read_file(kStatusFile);
  if (status) input_.take_status(world_.health, *status);
  if (!has_thermometer_) co_return;  // virtual machines have none
  auto temperature = co_await horus::io::read_file(kTemperatureFile);
  if (temperature) input_.take_temperature(world_.health, *temperature);
  has_thermometer_ = temperature.code() != ENOENT;  // any other refusal may pass
}

}  // namespace rover
