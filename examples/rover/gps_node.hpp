// SPDX-License-Identifier: Apache-2.0
// The GPS: a receiver that speaks NMEA 0183 over TCP, or a receiver's log that is played at its own pace.
// Event-driven: a tick is what has arrived, or an epoch of the log.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include <horus/horus.hpp>
#include <horus/io/file.hpp>
#include <horus/io/tcp.hpp>

#include "inputs.hpp"
#include "notice.hpp"
#include "world.hpp"

namespace rover {

class GpsNode : public horus::Node {
 public:
  /// Connects to `world.gps.source`, again and again when it must. A connection that says nothing is its watchdog's
  /// business: a tick that is cancelled connects afresh.
  explicit GpsNode(World& world) : Node("gps"), world_(world) {}

  horus::Task<> tick() override;

 private:
  static constexpr horus::Duration kConnectLimit = std::chrono::seconds(3);
  static constexpr horus::Duration kFirstPause = std::chrono::milliseconds(100);
  static constexpr horus::Duration kLastPause = std::chrono::seconds(2);

  horus::Task<> lose(const horus::Error& error);
  void disconnect() noexcept;

  World& world_;
  horus::io::TcpStream stream_;
  NmeaInput input_;
  std::array<std::byte, 4096> buffer_;
  Trouble trouble_{"gps"};
  horus::Duration pause_ = kFirstPause;
};

class GpsFileNode : public horus::Node {
 public:
  explicit GpsFileNode(World& world) : Node("gps"), world_(world) {}

  horus::Task<> init() override;
  horus::Task<> tick() override;

 private:
  World& world_;
  horus::io::File file_;
  NmeaInput input_;
  NmeaPlayback playback_;
  int64_t due_ns_ = 0;
  bool any_position_ = false;  // since the file was begun
};

}  // namespace rover
