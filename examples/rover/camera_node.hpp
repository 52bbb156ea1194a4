// SPDX-License-Identifier: Apache-2.0
// The camera: a child process that writes pictures to a pipe. Event-driven: a tick is a picture, however long it takes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <horus/horus.hpp>
#include <horus/io/process.hpp>
#include <horus/msg/messages.hpp>

#include "notice.hpp"
#include "ppm.hpp"
#include "world.hpp"

namespace rover {

class CameraNode : public horus::Node {
 public:
  /// `command` is the camera program and its arguments.
  CameraNode(World& world, std::vector<std::string> command);

  horus::Task<> init() override;
  horus::Task<> tick() override;
  horus::Task<> shutdown() override;

  /// What may happen to any program; the node notices like anybody.
  void kill_program() { static_cast<void>(child_.kill_group()); }

 private:
  static constexpr size_t kReadSize = 256 * 1024;
  static constexpr horus::Duration kSilenceLimit = std::chrono::seconds(3);
  static constexpr horus::Duration kFirstPause = std::chrono::milliseconds(100);
  static constexpr horus::Duration kLastPause = std::chrono::seconds(4);

  static constexpr std::size_t kLargestPicture = 32 << 20;  // bytes
  static constexpr std::uint32_t kMaxQueued = 64;           // pictures that all watchers may queue and hold

  void publish(const PpmHeader& header, std::span<const uint8_t> pixels);
  horus::Task<bool> start();
  horus::Task<> pause();
  horus::Task<> bury(std::string why);

  World& world_;
  std::vector<std::string> command_;
  horus::io::Process child_;
  PpmReader reader_;
  std::vector<std::byte> buffer_;
  Trouble trouble_{"camera"};
  horus::Duration pause_ = kFirstPause;
  horus::Publisher<horus::messages::Image> pictures_ = advertise<horus::messages::Image>(
      "camera", horus::AdvertiseOptions().with_max_bytes(kLargestPicture).with_max_queued(kMaxQueued));
};

}  // namespace rover
