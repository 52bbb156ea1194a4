// SPDX-License-Identifier: Apache-2.0
// Datagram sockets of the simulated world. One thread, the world's; descriptors share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <horus/io/address.hpp>
#include <horus/sim/base/objects.hpp>
#include <horus/sim/base/socket_options.hpp>

namespace horus::HORUS_ABI::sim::detail {

/// UDP.
class DatagramSocket final : public Object {
 public:
  DatagramSocket(Engine& engine, Host& host, int family) noexcept
      : Object(engine), family_(family), host_(host) {}
  [[nodiscard]] Kind kind() const noexcept override { return Kind::socket; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;
  ssize_t send(const msghdr& message, int flags) override;
  int shutdown(int how) override;
  void closed() override;
  int bind(Host& host, const io::Address& address) override;
  int connect(Host& host, const io::Address& address) override;
  int connect_result() override { return -std::exchange(error_, 0); }
  int set_option(int level, int option, const void* value, socklen_t size) override;
  int get_option(int level, int option, void* value, socklen_t* size) override;
  [[nodiscard]] bool writes_control() const noexcept override { return true; }
  [[nodiscard]] const io::Address* local() const noexcept override { return &local_; }
  [[nodiscard]] const io::Address* peer() const noexcept override { return connected_ ? &peer_ : nullptr; }

 private:
  struct Datagram {
    std::string data;
    io::Address from;
    io::Address to;
    int traffic_class = 0;
    int ttl = 0;
    std::int64_t arrived_ns = 0;
    std::uint32_t dropped = 0;  // by its receiver before it
  };
  // What one message says about itself in its control data.
  struct Sending {
    io::Address from;  // AF_UNSPEC: as ever
    unsigned interface = 0;
    int traffic_class = 0;
    int ttl = 0;
    bool timed = false;  // a transmit time is wanted
  };
  struct TransmitTime {
    std::uint32_t number;
    std::int64_t at_ns;
  };
  // A multicast group that it has joined, on one interface (0: on any).
  struct Membership {
    std::string group;
    unsigned interface;
    friend bool operator==(const Membership&, const Membership&) = default;
  };
  int change_membership(bool join, const void* value, socklen_t size);
  [[nodiscard]] bool is_member(const std::string& group) const;
  [[nodiscard]] bool on_loopback() const;
  int read_control(const msghdr& message, const io::Address& to, Sending& sending) const;
  int check_route(const io::Address& to, const Sending& sending) const;
  ssize_t receive_error(msghdr& message);
  void give_details(msghdr& message, const Datagram& datagram) const;
  void keep_transmit_time();
  void dispatch(Host& target, const Datagram& datagram);
  void deliver(Datagram datagram) noexcept;
  void refused(Host& from) noexcept;

  int family_;
  SocketOptions options_;
  std::vector<Membership> memberships_;
  bool bound_ = false;
  bool connected_ = false;
  int error_ = 0;  // a refusal that came back
  Host& host_;
  io::Address local_;
  io::Address peer_;
  std::int64_t last_local_arrival_ = 0;  // what stays on one host stays in order
  std::deque<Datagram> queue_;
  std::size_t queued_bytes_ = 0;
  std::uint32_t dropped_ = 0;
  std::deque<TransmitTime> times_;  // the error queue
  std::uint32_t timed_ = 0;         // datagrams that were to have a transmit time
};

}  // namespace horus::HORUS_ABI::sim::detail
