// SPDX-License-Identifier: Apache-2.0
// One thread, system calls that block, in the ticks.
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>

#include "inputs.hpp"
#include "log_batch.hpp"
#include "log_node.hpp"
#include "notice.hpp"
#include "old_ways.hpp"
#include "orders.hpp"
#include "plain_nodes.hpp"

namespace rover {

namespace {

class BlockingCamera : public horus::PlainNode {
 public:
  BlockingCamera(World& world, std::vector<std::string> command)
      : PlainNode("camera"), world_(world), pipe_(std::move(command)) {}
  void tick() override {
    const bool read = pipe_.read_picture([this](const PpmHeader& header, std::span<const uint8_t> pixels) {
      take_picture(world_.camera, header, pixels, horus::now_ns());
    });
    if (!read) trouble_.begins("the camera program stopped; starting it again");
    if (read) trouble_.is_over("pictures again");
  }
  void shutdown() override { pipe_.stop(); }

 private:
  World& world_;
  plain::CameraPipe pipe_;
  Trouble trouble_{"camera"};
};

class BlockingGps : public horus::PlainNode {
 public:
  explicit BlockingGps(World& world) : PlainNode("gps"), world_(world) {}
  void tick() override {
    if (!socket_) connect();
    if (!socket_) return;
    std::string bytes;
    const plain::Received received = plain::receive(socket_, bytes, false);
    if (received == plain::Received::kBytes) input_.take(world_.gps, bytes, horus::now_ns());
    if (received == plain::Received::kEnd) {
      world_.gps.connected = false;
      socket_ = plain::Handle();
    }
  }

 private:
  void connect() {
    const int64_t now = horus::now_ns();
    if (now < retry_ns_) return;
    try {
      socket_ = plain::connect_tcp(world_.gps.source);
      world_.gps.connected = true;
      trouble_.is_over("connected with " + world_.gps.source);
    } catch (const horus::Error& error) {
      trouble_.begins(error.message() + "; trying again");
      retry_ns_ = now + 1'000'000'000;
    }
  }

  World& world_;
  plain::Handle socket_;
  NmeaInput input_;
  int64_t retry_ns_ = 0;
  Trouble trouble_{"gps"};
};

class BlockingHealth : public horus::PlainNode {
 public:
  explicit BlockingHealth(World& world) : PlainNode("health"), world_(world) {}
  void tick() override {
    input_.take_stat(world_.health, plain::read_text(kStatFile));
    input_.take_meminfo(world_.health, plain::read_text(kMeminfoFile));
    input_.take_status(world_.health, plain::read_text(kStatusFile));
    input_.take_temperature(world_.health, plain::read_text(kTemperatureFile));
  }

 private:
  World& world_;
  HealthInput input_;
};

class BlockingCommands : public horus::PlainNode {
 public:
  BlockingCommands(World& world, uint16_t port)
      : PlainNode("command"), world_(world), socket_(plain::bind_udp(port, world.command_address, 0)) {}
  void tick() override {
    char buffer[kLongestCommand + 1];
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto* sender = reinterpret_cast<sockaddr*>(&from);
    const ssize_t count = ::recvfrom(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT, sender, &size);
    if (count < 0) return;
    const std::string answer = obey(world_, {buffer, static_cast<size_t>(count)}, horus::now_ns()) + "\n";
    static_cast<void>(::sendto(socket_.get(), answer.data(), answer.size(), MSG_DONTWAIT, sender, size));
  }

 private:
  World& world_;
  plain::Handle socket_;
};

class BlockingLog : public horus::PlainNode {
 public:
  explicit BlockingLog(World& world)
      : PlainNode("log"), world_(world), file_(plain::create_file(world.log.path)) {}
  void tick() override {
    const int64_t now = horus::now_ns();
    world_.log.lost += batch_.add(log_record_now(world_), now);
    if (batch_.due(now)) write(now);
  }
  void shutdown() override {
    write(horus::now_ns());
    world_.log.lost += batch_.size();
    ::fdatasync(file_.get());
  }

 private:
  void write(int64_t now) {
    const std::string text = batch_.text();
    if (const int code = plain::write_all(file_, text); code != 0) {
      trouble_.begins(horus::Error(code, "write", world_.log.path).message() + "; driving on");
      return;
    }
    world_.log.records += batch_.size();
    world_.log.bytes += text.size();
    batch_.written(batch_.size(), now);
  }

  World& world_;
  plain::Handle file_;
  LogBatch batch_;
  Trouble trouble_{"log"};
};

}  // namespace

void add_blocking_nodes(horus::Scheduler& scheduler, World& world, const Options& options,
                        std::vector<std::string> camera) {
  if (world.gps.source.empty())
    scheduler.add<PlainReceiver>(world).rate(horus::Rate(kReceiverRate_hz)).priority(40);
  scheduler.add<ControlNode>(world).rate(kControlRate).priority(0);
  scheduler.add<BlockingCamera>(world, std::move(camera)).rate(kPollRate).priority(10);
  if (!options.nmea_file.empty()) {
    scheduler.add<PlainGpsFile>(world).rate(kPollRate).priority(20);
  } else {
    scheduler.add<BlockingGps>(world).rate(kPollRate).priority(20);
  }
  scheduler.add<BlockingCommands>(world, options.command_port).rate(kPollRate).priority(25);
  scheduler.add<BlockingHealth>(world).rate(kHealthRate).priority(50);
  scheduler.add<BlockingLog>(world).rate(kLogRate).priority(60);
}

}  // namespace rover
