// SPDX-License-Identifier: Apache-2.0
#include "camera_node.hpp"

#include <algorithm>

#include <fcntl.h>

#include "inputs.hpp"

namespace rover {

using horus::Task;
using horus::io::Redirect;

CameraNode::CameraNode(World& world, std::vector<std::string> command)
    : Node("camera"), world_(world), command_(std::move(command)), buffer_(kReadSize) {}

Task<> CameraNode::init() {
  auto starting = start();
  co_await starting;  // a program that is not there ends the run: nobody wants a rover without a camera
}

Task<> CameraNode::start() {
  auto options = horus::io::ProcessOptions(command_)
                     .with_input(Redirect::null())
                     .with_output(Redirect::pipe())
                     .with_error(Redirect::null())
                     .with_own_group();
  auto spawning = horus::io::Process::spawn(std::move(options));
  auto child = co_await spawning;
  child_ = std::move(child).or_throw();
  reader_ = PpmReader();
  // Room for a whole picture, so that the camera need not wait for us within one. Where that is refused: 64 KiB.
  static_cast<void>(::fcntl(child_.standard_out().fd(), F_SETPIPE_SZ, 1 << 20));
}

Task<> CameraNode::tick() {
  if (!child_.running()) {
    auto starting = start();
    co_await starting;
  }
  const uint64_t before = world_.camera.pictures;
  while (world_.camera.pictures == before) {
    auto count = co_await child_.standard_out().read(buffer_);
    if (!count) {
      if (count.error().cancelled()) throw count.error();
      auto end = bury(count.error().end_of_stream() ? "" : count.error().message());
      co_await end;
      co_return;
    }
    const std::span bytes(reinterpret_cast<const uint8_t*>(buffer_.data()), *count);
    const PpmError error =
        reader_.feed(bytes, [this](const PpmHeader& header, std::span<const uint8_t> pixels) {
          take_picture(world_.camera, header, pixels, horus::now_ns());
        });
    if (error != PpmError::kNone) {
      auto end = bury(std::string(describe(error)));
      co_await end;
      co_return;
    }
  }
  trouble_.is_over("pictures again");
  pause_ = kFirstPause;
}

// The camera died or talks nonsense: say so once, let go of it, and have the next tick start it afresh, after a pause
// that doubles.
Task<> CameraNode::bury(std::string why) {
  auto ending = child_.terminate(std::chrono::milliseconds(200));
  auto status = co_await ending;
  if (why.empty())
    why = status ? "the camera program stopped: " + status->to_string() : status.error().message();
  trouble_.begins(why + "; starting it again");
  child_ = horus::io::Process();
  const horus::Duration pause = pause_;
  pause_ = std::min(pause_ * 2, kLastPause);
  co_await horus::sleep(pause);
}

Task<> CameraNode::shutdown() {
  if (!child_.running()) co_return;
  auto ending = child_.terminate(std::chrono::milliseconds(200));
  static_cast<void>(co_await ending);
}

}  // namespace rover
