// SPDX-License-Identifier: Apache-2.0
// A node that blocks its loop in the place it is told to.
#pragma once

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <exception>
#include <thread>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/node.hpp>

namespace blocking {

enum class Place {
  tick,
  background,
  posted,
  first_init,
  restarted_init,
  restarted_shutdown,
  last_shutdown,
  on_error,
  hook
};

// Keeps the first thread that comes until somebody lets go, or for `limit`.
struct Gate {
  explicit Gate(std::chrono::seconds longest = std::chrono::seconds(10)) : limit(longest) {}
  std::atomic<std::int64_t> blocked_ns{0};
  std::atomic<bool> open{false};
  bool spin = false;
  std::chrono::seconds limit;
  void block() {
    std::int64_t not_yet = 0;
    if (!blocked_ns.compare_exchange_strong(not_yet, horus::monotonic_ns())) return;
    const auto end = std::chrono::steady_clock::now() + limit;
    while (!open.load() && std::chrono::steady_clock::now() < end) {
      if (!spin) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }
  [[nodiscard]] bool blocks() const { return blocked_ns.load() != 0; }
};

// Without a watchdog.
class Blocker : public horus::Node {
 public:
  Blocker(Gate& gate, Place place) : gate_(gate), place_(place) {}
  horus::Task<> init() override {
    const bool first = !std::exchange(began_, true);
    if (place_ == Place::first_init || (!first && place_ == Place::restarted_init)) gate_.block();
    if (place_ == Place::background) {
      work_ = spawn([](Gate& gate) -> horus::Task<> {
        co_await horus::sleep(std::chrono::milliseconds(20));
        gate.block();
      }(gate_));
    }
    co_return;
  }
  horus::Task<> tick() override {
    co_await horus::sleep(std::chrono::milliseconds(20));
    switch (place_) {
      case Place::tick: gate_.block(); break;
      case Place::posted: horus::io::Reactor::current()->post([this] { gate_.block(); }); break;
      case Place::restarted_init:
      case Place::restarted_shutdown:
      case Place::on_error: throw horus::Error(EIO, "read", "/dev/broken");
      default: break;
    }
  }
  horus::Task<> shutdown() override {
    if (place_ == Place::restarted_shutdown || place_ == Place::last_shutdown) gate_.block();
    co_return;
  }
  void on_error(const std::exception_ptr&) override {
    if (place_ == Place::on_error) gate_.block();
  }
  void enter_safe_state() noexcept override {
    if (place_ == Place::hook) gate_.block();
  }

 private:
  Gate& gate_;
  Place place_;
  bool began_ = false;
  horus::Spawned<void> work_;
};

}  // namespace blocking
