// SPDX-License-Identifier: Apache-2.0
#include "gps_node.hpp"

#include <algorithm>

namespace rover {

using horus::Task;

Task<> GpsNode::tick() {
  if (!stream_.is_open()) {
    auto connecting = horus::io::TcpStream::connect(world_.gps.source);
    auto stream = co_await horus::with_timeout(kConnectLimit, std::move(connecting));
    if (!stream) {
      auto losing = lose(stream.error());
      co_await losing;
      co_return;
    }
    stream_ = std::move(*stream);
    world_.gps.connected = true;
  }
  auto count = co_await stream_.read(buffer_);
  if (!count) {
    auto losing = lose(count.error());
    co_await losing;
    co_return;
  }
  trouble_.is_over("connected with " + world_.gps.source);
  pause_ = kFirstPause;
  input_.take(world_.gps, {reinterpret_cast<const char*>(buffer_.data()), *count}, horus::now_ns());
}

// Says so once, and lets the next tick try again, after a pause that doubles.
Task<> GpsNode::lose(const horus::Error& error) {
  if (error.cancelled()) {
    disconnect();
    throw error;
  }
  trouble_.begins(error.on(error.operation(), world_.gps.source).message() + "; trying again");
  disconnect();
  const horus::Duration pause = pause_;
  pause_ = std::min(pause_ * 2, kLastPause);
  co_await horus::sleep(pause);
}

void GpsNode::disconnect() noexcept {
  stream_.reset();
  world_.gps.connected = false;
}

Task<> GpsFileNode::init() {
  auto opening = horus::io::File::open_read(world_.gps.source);
  auto file = co_await opening;
  file_ = std::move(file).or_throw();
  due_ns_ = horus::now_ns();
}

Task<> GpsFileNode::tick() {
  while (true) {
    auto reading = file_.read_line();
    auto line = co_await reading;
    if (!line && line.error().end_of_stream()) {
      if (!any_position_) throw horus::Error(horus::kBadInput, "find a position in", world_.gps.source);
      any_position_ = false;
      file_.seek(0);
      continue;
    }
    const std::string text = std::move(line).or_throw() + "\n";
    const int64_t pause = playback_.pause_before(text);
    if (pause > 0) {
      due_ns_ = std::max(due_ns_ + pause, horus::now_ns() - pause);
      co_await horus::sleep_until(horus::TimePoint(horus::Duration(due_ns_)));
    }
    world_.gps.connected = true;
    input_.take(world_.gps, text, horus::now_ns());
    any_position_ = any_position_ || world_.gps.fix.has_position();
    if (pause > 0) co_return;
  }
}

}  // namespace rover
