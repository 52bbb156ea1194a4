// SPDX-License-Identifier: Apache-2.0
// A hub, and what Python has made through it. Internal; it ends on the hubs' thread.
#pragma once

#include <atomic>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <horus/msg/hub.hpp>
#include <horus/py/hub/ends.hpp>

namespace horus::python {

/// It ends on the hubs' thread when nobody has it or a port of it.
class HubHome final : public HubPart {
 public:
  explicit HubHome(Hub hub) : hub_(std::move(hub)), name_(hub_->name()) {}
  ~HubHome() override { close_here(); }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const std::shared_ptr<HubCounters>& counters() const noexcept { return counters_; }
  [[nodiscard]] std::optional<Hub> hub() const {
    const std::lock_guard lock(mutex_);
    return hub_;
  }
  [[nodiscard]] HubMetrics metrics() const {
    const std::lock_guard lock(mutex_);
    return hub_ ? with_counters(*hub_) : last_;
  }

  // --- The hubs' thread
  void add(const std::shared_ptr<HubPart>& port) {
    if (ports_.size() == ports_.capacity())
      std::erase_if(ports_, [](const auto& other) { return other.expired(); });
    ports_.push_back(port);
  }
  void close_here() noexcept override {
    for (const auto& weak : std::exchange(ports_, {})) {
      if (const auto port = weak.lock()) port->close_here();
    }
    std::optional<Hub> gone = hub();
    if (!gone) return;
    const HubMetrics last = with_counters(*gone);
    HubThread::get_running().linger_for(gone->core()->transports());
    const std::lock_guard lock(mutex_);
    last_ = last;
    hub_.reset();
  }

 private:
  // What is between Python and its publisher counts as sent; and it is never counted twice.
  [[nodiscard]] HubMetrics with_counters(const Hub& hub) const {
    constexpr int kTries = 2000;
    constexpr timespec kMoment{0, 50'000};  // the other thread may have lost its processor
    HubMetrics metrics;
    for (int tries = 0; tries < kTries; ++tries) {
      if (tries > 0) ::nanosleep(&kMoment, nullptr);
      const std::uint64_t round = counters_->round.load(std::memory_order_acquire);
      metrics = hub.metrics();
      metrics.messages_sent += counters_->waiting.load(std::memory_order_relaxed);
      metrics.bytes_sent += counters_->waiting_bytes.load(std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (round % 2 == 0 && counters_->round.load(std::memory_order_relaxed) == round) break;
    }
    metrics.send_failures += counters_->refused.load(std::memory_order_relaxed);
    metrics.recv_failures += counters_->malformed.load(std::memory_order_relaxed);
    return metrics;
  }

  mutable std::mutex mutex_;
  std::optional<Hub> hub_;
  HubMetrics last_;  // when it was closed
  const std::string name_;
  const std::shared_ptr<HubCounters> counters_ = std::make_shared<HubCounters>();
  std::vector<std::weak_ptr<HubPart>> ports_;
};

class CoreHub {
 public:
  /// `make` makes the hub on the hubs' thread.
  template <class Make>
  explicit CoreHub(Make make)
      : home_(HubThread::get().call([make] {
          auto home = std::make_shared<HubHome>(make());
          HubThread::get_running().keep(home);
          return home;
        })) {}
  CoreHub(const CoreHub&) = delete;
  CoreHub& operator=(const CoreHub&) = delete;
  ~CoreHub() {
    dispose(home_, [](HubHome&) {});
  }

  std::unique_ptr<Out> advertise(const std::string& topic, const Format& format,
                                 const AdvertiseOptions& send) {
    auto port = HubThread::get().call([home = home_, info = info(topic, format, {}, send)] {
      auto made = OutPort::open(hub_of(*home), info, home, home->counters());
      home->add(made);
      return made;
    });
    return std::make_unique<Out>(std::move(port), format, "topic " + topic);
  }

  std::unique_ptr<In> subscribe(const std::string& topic, const Format& format,
                                const SubscribeOptions& receive) {
    auto port = HubThread::get().call([home = home_, info = info(topic, format, receive, {})] {
      auto made = InPort::open(hub_of(*home), info, home, home->counters());
      home->add(made);
      return made;
    });
    return std::make_unique<In>(std::move(port), format, "topic " + topic);
  }

  py::tuple create_link(const std::string& name, const std::string& peer, const Format& format,
                        const SubscribeOptions& receive, const AdvertiseOptions& send) {
    msg::PortInfo both = info(name, format, receive, send);
    both.link = true;
    both.peer = peer;
    both.pair = msg::new_pair();
    auto [in, out] = HubThread::get().call([home = home_, both] {
      auto incoming = InPort::open(hub_of(*home), both, home, home->counters());
      home->add(incoming);
      std::shared_ptr<OutPort> outgoing;
      try {
        outgoing = OutPort::open(hub_of(*home), both, home, home->counters());
      } catch (...) {
        incoming->close_here();
        throw;
      }
      home->add(outgoing);
      return std::pair(std::move(incoming), std::move(outgoing));
    });
    const std::string words = "link " + name;
    return py::make_tuple(std::make_unique<Out>(std::move(out), format, words),
                          std::make_unique<In>(std::move(in), format, words));
  }

  HubHome& home() {
    HubThread::check_fork();
    return *home_;
  }
  void close() { close_and_wait(home_); }

  static Hub hub_of(const HubHome& home) {
    auto hub = home.hub();
    if (!hub) throw std::runtime_error("hub " + home.name() + " is closed");
    return *hub;
  }

 private:
  static msg::PortInfo info(const std::string& topic, const Format& format, const SubscribeOptions& receive,
                            const AdvertiseOptions& send) {
    msg::PortInfo info;
    info.topic = topic;
    info.layout = format.layout;
    info.description = format.description;
    info.subscribe = receive;
    info.advertise = send;
    return info;
  }

  std::shared_ptr<HubHome> home_;
};

}  // namespace horus::python
