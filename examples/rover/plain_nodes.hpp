// SPDX-License-Identifier: Apache-2.0
// Nodes that both old ways have: the stand-in receiver, and the player of a receiver's log. Plain system calls, the loop's thread.
#pragma once

#include <cerrno>
#include <fstream>
#include <string>
#include <vector>

#include <sys/socket.h>

#include <horus/io/reactor.hpp>
#include <horus/sched/node.hpp>

#include "control_node.hpp"
#include "inputs.hpp"
#include "plain_io.hpp"
#include "receiver.hpp"
#include "world.hpp"

namespace rover {

inline constexpr horus::Rate kPollRate{100};  // at which the old ways look for input
inline constexpr horus::Rate kHealthRate{2};

/// Tells where the simulated rover is to whoever connects; never blocks, as it stands for the outside world.
class PlainReceiver : public horus::PlainNode {
 public:
  explicit PlainReceiver(World& world) : PlainNode("receiver"), world_(world) {
    listener_ = plain::listen_tcp(world.gps.source);
    world.gps.own_receiver = true;
  }
  void tick() override {
    for (int fd; (fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
      clients_.emplace_back(fd);
    }
    const std::string epoch = receiver_epoch_now(world_.drive);
    for (const plain::Handle& client : clients_) {
      static_cast<void>(::send(client.get(), epoch.data(), epoch.size(), MSG_NOSIGNAL));
    }
  }

 private:
  World& world_;
  plain::Handle listener_;
  std::vector<plain::Handle> clients_;
};

/// Plays a receiver's log, read in the tick, from the page cache.
class PlainGpsFile : public horus::PlainNode {
 public:
  explicit PlainGpsFile(World& world) : PlainNode("gps"), world_(world), file_(world.gps.source) {
    if (!file_) throw horus::Error(errno, "open", world.gps.source);
  }
  void tick() override {
    const int64_t now = horus::now_ns();
    for (int lines = 0; lines < kMostLines && now >= due_ns_; ++lines) {
      if (!held_.empty()) input_.take(world_.gps, held_, now);
      held_.clear();
      if (!std::getline(file_, held_)) {
        file_.clear();
        file_.seekg(0);
        return;
      }
      held_ += '\n';
      world_.gps.connected = true;
      if (const int64_t pause = playback_.pause_before(held_); pause > 0) due_ns_ = now + pause;
    }
  }

 private:
  static constexpr int kMostLines = 100;

  World& world_;
  std::ifstream file_;
  NmeaInput input_;
  NmeaPlayback playback_;
  std::string held_;
  int64_t due_ns_ = 0;
};

}  // namespace rover
