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

namespace horus::sim::detail {

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
  [[nodiscard]] const io::Address* local() const noexcept override { return &local_; }
  [[nodiscard]] const io::Address* peer() const noexcept override { return connected_ ? &peer_ : nullptr; }

 private:
  struct Datagram {
    std::string data;
    io::Address from;
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
  void dispatch(Host& target, const io::Address& to, const std::string& data, const io::Address& from);
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
};

}  // namespace horus::sim::detail
