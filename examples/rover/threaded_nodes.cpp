// SPDX-License-Identifier: Apache-2.0
// A thread for each input and output; the ticks poll what has been handed over.
#include <chrono>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>

#include "handover.hpp"
#include "inputs.hpp"
#include "log_batch.hpp"
#include "log_node.hpp"
#include "notice.hpp"
#include "old_ways.hpp"
#include "orders.hpp"
#include "plain_nodes.hpp"

namespace rover {

namespace {

using std::chrono::milliseconds;

class ThreadedCamera : public horus::PlainNode {
 public:
  ThreadedCamera(World& world, std::vector<std::string> command)
      : PlainNode("camera"), world_(world), pipe_(std::move(command)) {}
  ~ThreadedCamera() override { shutdown(); }
  void init() override {
    worker_.start([this] {
      bool read = false;
      try {
        read = pipe_.read_picture([this](const PpmHeader& header, std::span<const uint8_t> pixels) {
          pictures_.put({header, {pixels.begin(), pixels.end()}});
        });
      } catch (const horus::Error& error) {
        horus::log_error(fmt::format("camera: {}", error.message()));
      }
      if (!read) std::this_thread::sleep_for(milliseconds(100));
    });
  }
  void tick() override {
    for (const Picture& picture : pictures_.take()) {
      take_picture(world_.camera, picture.header, picture.pixels, horus::now_ns());
    }
  }
  void shutdown() override {
    worker_.stop([this] { pipe_.interrupt(); });
    pipe_.stop();
  }

 private:
  struct Picture {
    PpmHeader header;
    std::vector<uint8_t> pixels;
  };
  World& world_;
  plain::CameraPipe pipe_;
  Handover<Picture> pictures_{2};
  Worker worker_;
};

class ThreadedGps : public horus::PlainNode {
 public:
  explicit ThreadedGps(World& world) : PlainNode("gps"), world_(world) {}
  ~ThreadedGps() override {
    worker_.stop([this] { interrupt(); });
  }
  void init() override {
    worker_.start([this, address = world_.gps.source] { read_once(address); });
  }
  void tick() override {
    world_.gps.connected = connected_;
    for (const std::string& bytes : bytes_.take()) input_.take(world_.gps, bytes, horus::now_ns());
  }
  void shutdown() override {
    worker_.stop([this] { interrupt(); });
  }

 private:
  void read_once(const std::string& address) {
    if (!socket_) {
      try {
        plain::Handle socket = plain::connect_tcp(address);
        const std::lock_guard lock(mutex_);
        socket_ = std::move(socket);
        connected_ = true;
        trouble_.is_over("connected with " + address);
      } catch (const horus::Error& error) {
        trouble_.begins(error.message() + "; trying again");
        std::this_thread::sleep_for(milliseconds(200));
        return;
      }
    }
    std::string bytes;
    const plain::Received received = plain::receive(socket_, bytes, true);
    if (received == plain::Received::kBytes) bytes_.put(std::move(bytes));
    if (received == plain::Received::kEnd) {
      const std::lock_guard lock(mutex_);
      socket_ = plain::Handle();
      connected_ = false;
    }
  }
  void interrupt() {
    const std::lock_guard lock(mutex_);
    if (socket_) ::shutdown(socket_.get(), SHUT_RDWR);
  }

  World& world_;
  std::mutex mutex_;  // of socket_
  plain::Handle socket_;
  std::atomic<bool> connected_{false};
  Handover<std::string> bytes_{100};
  NmeaInput input_;
  Trouble trouble_{"gps"};
  Worker worker_;
};

class ThreadedHealth : public horus::PlainNode {
 public:
  explicit ThreadedHealth(World& world) : PlainNode("health"), world_(world) {}
  ~ThreadedHealth() override { worker_.stop(); }
  void init() override {
    worker_.start([this] {
      texts_.put({plain::read_text(kStatFile), plain::read_text(kMeminfoFile), plain::read_text(kStatusFile),
                  plain::read_text(kTemperatureFile)});
      for (int i = 0; i < 50 && !over_; ++i) std::this_thread::sleep_for(milliseconds(10));
    });
  }
  void tick() override {
    for (const Texts& texts : texts_.take()) {
      input_.take_stat(world_.health, texts.stat);
      input_.take_meminfo(world_.health, texts.meminfo);
      input_.take_status(world_.health, texts.status);
      input_.take_temperature(world_.health, texts.temperature);
    }
  }
  void shutdown() override {
    over_ = true;
    worker_.stop();
  }

 private:
  struct Texts {
    std::string stat, meminfo, status, temperature;
  };
  World& world_;
  Handover<Texts> texts_{2};
  HealthInput input_;
  std::atomic<bool> over_{false};
  Worker worker_;
};

class ThreadedCommands : public horus::PlainNode {
 public:
  ThreadedCommands(World& world, uint16_t port)
      : PlainNode("command"), world_(world), socket_(plain::bind_udp(port, world.command_address, 100)) {}
  ~ThreadedCommands() override { worker_.stop(); }
  void init() override {
    worker_.start([this] {
      char buffer[kLongestCommand + 1];
      Command command;
      command.size = sizeof command.from;
      const ssize_t count = ::recvfrom(socket_.get(), buffer, sizeof buffer, 0,
                                       reinterpret_cast<sockaddr*>(&command.from), &command.size);
      if (count < 0) return;  // nobody said anything for 100 ms
      command.text.assign(buffer, static_cast<size_t>(count));
      commands_.put(std::move(command));
    });
  }
  void tick() override {
    for (const Command& command : commands_.take()) {
      const std::string answer = obey(world_, command.text, horus::now_ns()) + "\n";
      static_cast<void>(::sendto(socket_.get(), answer.data(), answer.size(), MSG_DONTWAIT,
                                 reinterpret_cast<const sockaddr*>(&command.from), command.size));
    }
  }
  void shutdown() override { worker_.stop(); }

 private:
  struct Command {
    std::string text;
    sockaddr_storage from{};
    socklen_t size = 0;
  };
  World& world_;
  plain::Handle socket_;
  Handover<Command> commands_{16};
  Worker worker_;
};

class ThreadedLog : public horus::PlainNode {
 public:
  explicit ThreadedLog(World& world)
      : PlainNode("log"), world_(world), file_(plain::create_file(world.log.path)) {}
  ~ThreadedLog() override { worker_.stop(); }
  void init() override {
    worker_.start([this] {
      for (const Batch& batch : batches_.wait(milliseconds(50))) write(batch);
    });
  }
  void tick() override {
    const int64_t now = horus::now_ns();
    batch_.add(log_record_now(world_), now);
    if (batch_.due(now)) hand_over(now);
    account();
  }
  void shutdown() override {
    hand_over(horus::now_ns());
    worker_.stop();
    for (const Batch& batch : batches_.take()) write(batch);
    ::fdatasync(file_.get());
    account();
  }

 private:
  struct Batch {
    std::string text;
    size_t records = 0;
  };
  void hand_over(int64_t now) {
    batches_.put({batch_.text(), batch_.size()});
    batch_.written(batch_.size(), now);
  }
  void write(const Batch& batch) {
    if (const int code = plain::write_all(file_, batch.text); code != 0) {
      trouble_.begins(horus::Error(code, "write", path_).message() + "; driving on");
      lost_ += batch.records;
      return;
    }
    bytes_ += batch.text.size();
    records_ += batch.records;
  }
  void account() {
    world_.log.bytes = bytes_;
    world_.log.records = records_;
    world_.log.lost = lost_;
  }

  World& world_;
  const std::string path_ = world_.log.path;
  plain::Handle file_;
  LogBatch batch_;
  Handover<Batch> batches_{100};
  std::atomic<uint64_t> bytes_{0}, records_{0}, lost_{0};
  Trouble trouble_{"log"};
  Worker worker_;
};

}  // namespace

void add_threaded_nodes(horus::Scheduler& scheduler, World& world, const Options& options,
                        std::vector<std::string> camera) {
  if (world.gps.source.empty())
    scheduler.add<PlainReceiver>(world).rate(horus::Rate(kReceiverRate_hz)).priority(40);
  scheduler.add<ControlNode>(world).rate(kControlRate).priority(0);
  scheduler.add<ThreadedCamera>(world, std::move(camera)).rate(kPollRate).priority(10);
  if (!options.nmea_file.empty()) {
    scheduler.add<PlainGpsFile>(world).rate(kPollRate).priority(20);
  } else {
    scheduler.add<ThreadedGps>(world).rate(kPollRate).priority(20);
  }
  scheduler.add<ThreadedCommands>(world, options.command_port).rate(kPollRate).priority(25);
  scheduler.add<ThreadedHealth>(world).rate(kPollRate).priority(50);
  scheduler.add<ThreadedLog>(world).rate(kLogRate).priority(60);
}

}  // namespace rover
