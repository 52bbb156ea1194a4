// SPDX-License-Identifier: Apache-2.0
// A hub without its face: its open ports, its transports, its account. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/msg/session/transport.hpp>

namespace horus::HORUS_ABI {

/// What a hub's ports have done together, those that are gone included. Names as in the documents.
struct HubMetrics {
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t send_failures = 0;
  std::uint64_t recv_failures = 0;  ///< messages that a subscriber lost
  std::uint64_t dropped = 0;        ///< messages that a publisher's subscribers lost
  std::uint64_t queued = 0;         ///< waiting in subscribers' queues now
  std::uint32_t publishers = 0;
  std::uint32_t subscribers = 0;
  Histogram latency;  ///< publish → take, nanoseconds, of a sample of the messages
};

/// Whether a hub reaches others.
struct ConnectionState {
  bool connected = false;  ///< at least one peer; true for a hub without transports, which has none to reach
  std::vector<PeerState> peers;
};

namespace msg {

class Arena;

/// Hears of each publisher of this process. Called on any thread, under the lock of all ports: opens, closes and sends nothing.
class PublisherWatch {
 public:
  virtual ~PublisherWatch() = default;
  virtual void opened(const PortInfo& info, Outbox& outbox) noexcept = 0;
};

class HORUS_API HubCore : public std::enable_shared_from_this<HubCore> {
 public:
  explicit HubCore(std::string name) : name_(std::move(name)) {}
  HubCore(const HubCore&) = delete;
  HubCore& operator=(const HubCore&) = delete;
  ~HubCore();

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Carries this hub's topics by what `maker` makes, on the first thread with a reactor that opens a port, and anew when
  /// that reactor has ended. With a reactor here it is made now. Errors: those of `maker`; later they are thrown where a
  /// port is opened. `shares_memory`: publishers keep their messages in memory that other processes can map.
  Result<> carry(TransportMaker maker, bool shares_memory = false);
  [[nodiscard]] HubMetrics metrics() const;
  [[nodiscard]] ConnectionState connection_state() const;
  /// Where others reach it; empty without a transport that can tell.
  [[nodiscard]] std::string address() const;
  /// What publishers' messages are in where other processes can read them; null without such a transport. For its
  /// maker.
  [[nodiscard]] const std::shared_ptr<Arena>& memory() const noexcept { return memory_; }
  /// Each open publisher of this process, in the order in which they were opened; `visit` must open and close none. Any
  /// thread.
  static void visit_publishers(const std::function<void(const PortInfo&)>& visit);
  /// It hears of the publishers that are open now, and of each further one before that can send, until it is gone. Any thread.
  static void watch_publishers(const std::shared_ptr<PublisherWatch>& watch);
  /// Null when none with that PortInfo::id is open. Any thread.
  [[nodiscard]] static std::shared_ptr<Outbox> publisher(std::uint64_t id);
  /// The hubs on which somebody in this process subscribes to a topic, links apart; in a simulated world in the calling
  /// process. Any thread.
  [[nodiscard]] static std::vector<std::shared_ptr<HubCore>> subscribed(const std::string& topic);
  /// Those that work.
  [[nodiscard]] std::vector<std::shared_ptr<Transport>> transports() const;

 private:
  friend class Port;
  void open(Port& port);
  void close(Port& port) noexcept;
  struct Carrier {
    TransportMaker maker;
    std::shared_ptr<Transport> transport;  // null until somebody opens a port on a reactor
  };
  void settle(Port& port);
  Result<> start(Carrier& carrier);

  const std::string name_;
  mutable std::mutex mutex_;
  std::vector<Carrier> carriers_;
  std::shared_ptr<Arena> memory_;  // of publishers, where other processes read it
  HubMetrics ended_;               // of ports that are gone
};

}  // namespace msg
}  // namespace horus::HORUS_ABI
