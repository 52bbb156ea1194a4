// SPDX-License-Identifier: Apache-2.0
// The log: a record twenty times a second, written in batches beside the ticks, on the disk for sure at the end.
// A disk that refuses is reported once; the rover drives on, and the records wait for a better time.
#pragma once

#include <cstdint>
#include <string>

#include <horus/horus.hpp>
#include <horus/io/file.hpp>

#include "log_batch.hpp"
#include "notice.hpp"
#include "world.hpp"

namespace rover {

inline constexpr horus::Rate kLogRate{20};

class LogNode : public horus::Node {
 public:
  explicit LogNode(World& world) : Node("log"), world_(world) {}

  horus::Task<> init() override;
  horus::Task<> tick() override;
  horus::Task<> shutdown() override;

 private:
  horus::Task<> write();

  World& world_;
  horus::io::File file_;
  LogBatch batch_;
  horus::Spawned<void> writing_;
  int64_t retry_ns_ = 0;
  Trouble trouble_{"log"};
};

}  // namespace rover
