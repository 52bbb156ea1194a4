// SPDX-License-Identifier: Apache-2.0
#include "camera_node.hpp"

#include <algorithm>
#include <cerrno>

#include "inputs.hpp"

namespace rover {

using horus::Task;
using horus::io::Redirect;

CameraNode::CameraNode(World& world, std::vector<std::string> command)
    : Node("camera"), world_(world), command_(std::move(command)), buffer_(kReadSize) {}

Task<> CameraNode::init() {
  auto starting = start();
  static_cast<void>(
      co_await starting);  // a program that is not there ends the run: nobody wants a rover without a camera
}

// False when the machine had no room for another process just now: after a pause it may.
Task<bool> CameraNode::start() {
  auto options = horus::io::ProcessOptions(command_)
                     .with_input(Redirect::null())
                     .with_output(Redirect::pipe())
                     .with_error(Redirect::null())
                     .with_own_group();
  auto spawning = horus::io::Process::spawn(std::move(options));
  auto child = co_await spawning;
  if (child.code() == EAGAIN || child.code() == ENOMEM || child.code() == EMFILE) {
    trouble_.begins(child.error().message() + "; trying again");
    co_return false;
  }
  child_ = std::move(child).or_throw();
  reader_ = PpmReader();
  // Room for a whole picture, so that the camera need not wait for us within one. Where that is refused: 64 KiB.
  static_cast<void>(child_.standard_out().set_room(1 << 20));
  co_return true;
}

// Doubles each time.
Task<> CameraNode::pause() {
  const horus::Duration length = pause_;
  pause_ = std::min(pause_ * 2, kLastPause);
  co_await horus::sleep(length);
}

Task<> CameraNode::tick() {
  if (!child_.running()) {
    auto pausing = pause();
    co_await pausing;
    auto starting = start();
    const bool started = co_await starting;
    if (!started) co_return;
  }
  const uint64_t before = world_.camera.pictures;
  while (world_.camera.pictures == before) {
    auto reading = child_.standard_out().read(buffer_).as_task();
    auto count = co_await horus::with_timeout(kSilenceLimit, std::move(reading));
    if (!count) {
      if (count.error().cancelled()) throw count.error();
      const bool hangs = count.code() == ETIMEDOUT;
      auto end = bury(hangs                           ? "silent for 3 s"
                      : count.error().end_of_stream() ? ""
                                                      : count.error().message());
      co_await end;
      co_return;
    }
    const std::span bytes(reinterpret_cast<const uint8_t*>(buffer_.data()), *count);
    const PpmError error =
        reader_.feed(bytes, [this](const PpmHeader& header, std::span<const uint8_t> pixels) {
          take_picture(world_.camera, header, pixels, horus::now_ns());
          publish(header, pixels);
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

// For whoever watches, in memory that they share with us; copied once, whatever their number.
void CameraNode::publish(const PpmHeader& header, std::span<const uint8_t> pixels) {
  if (pictures_.subscribers() == 0) return;
  auto loan = pictures_.loan(pixels.size());
  if (!loan) return trouble_.begins(loan.error().message());
  horus::messages::Image& image = **loan;
  image.header.stamp_ns = horus::now_ns();
  image.header.set_frame("camera");
  image.width = header.width;
  image.height = header.height;
  image.step = static_cast<uint32_t>(pixels.size() / header.height);
  image.is_bigendian = 1;
  image.encoding.set(header.largest_sample > 255 ? "rgb16" : "rgb8");
  std::ranges::copy(pixels, loan->tail().begin());
  pictures_.publish(std::move(*loan));
}

// The camera died or talks nonsense: let go of it and fail, which the scheduler tells. The next tick starts it afresh,
// after a pause that doubles.
Task<> CameraNode::bury(std::string why) {
  auto ending = child_.terminate(std::chrono::milliseconds(200));
  auto status = co_await ending;
  if (why.empty()) why = status ? status->to_string() : status.error().message();
  trouble_.begins_untold(why);
  child_ = horus::io::Process();
  throw horus::Error(EPIPE, "read from", fmt::format("the camera program ({})", why));
}

Task<> CameraNode::shutdown() {
  if (!child_.running()) co_return;
  auto ending = child_.terminate(std::chrono::milliseconds(200));
  static_cast<void>(co_await ending);
}

}  // namespace rover
