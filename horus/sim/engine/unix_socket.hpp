// SPDX-License-Identifier: Apache-2.0
// Unix sockets of the simulated world: streams, sequenced packets and datagrams between the processes of one host, by
// path, abstract name or as a pair. One thread, the world's. What is sent arrives at once; descriptors share them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/io/address.hpp>
#include <horus/sim/base/objects.hpp>
#include <horus/sim/base/socket_options.hpp>
#include <horus/sim/base/transcript.hpp>

namespace horus::HORUS_ABI::sim::detail {

class UnixSocket final : public Object {
 public:
  /// `type`: SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM. `owner`: who made it, for SO_PEERCRED.
  UnixSocket(Engine& engine, Host& host, int type, pid_t owner) noexcept;
  static void join(const std::shared_ptr<UnixSocket>& one, const std::shared_ptr<UnixSocket>& other) noexcept;

  [[nodiscard]] Kind kind() const noexcept override { return Kind::socket; }
  [[nodiscard]] bool is_byte_stream() const noexcept override { return type_ == SOCK_STREAM; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;
  ssize_t send(const msghdr& message, int flags) override;
  ssize_t receive_with(msghdr& message, int flags, std::vector<Held>& rights) override;
  ssize_t send_with(const msghdr& message, int flags, std::vector<Held>&& rights) override;
  int shutdown(int how) override;
  void closed() override;
  int bind(Host& host, const io::Address& address) override;
  int listen(int backlog) override;
  int connect(Host& host, const io::Address& address) override;
  int connect_result() override { return 0; }
  int set_option(int level, int option, const void* value, socklen_t size) override;
  int get_option(int level, int option, void* value, socklen_t* size) override;
  std::shared_ptr<Object> accept(int& error) override;
  [[nodiscard]] const io::Address* local() const noexcept override { return &local_; }
  [[nodiscard]] const io::Address* peer() const noexcept override {
    return connected_ ? &peer_address_ : nullptr;
  }

  [[nodiscard]] Transcript* incoming() const noexcept override { return incoming_.get(); }
  [[nodiscard]] Transcript* outgoing() const noexcept override { return outgoing_.get(); }

 private:
  struct Message {
    std::string data;
    io::Address from;
    std::vector<Held> rights;
  };
  [[nodiscard]] bool is_datagram() const noexcept { return type_ == SOCK_DGRAM; }
  [[nodiscard]] bool has_room(std::size_t size) const noexcept;
  [[nodiscard]] std::shared_ptr<UnixSocket> target(const msghdr& message, int& error);
  [[nodiscard]] int look_up(const io::Address& address, UnixSocket*& found);
  void read_stream(msghdr& message, bool peek, std::vector<Held>& rights, std::size_t& copied);
  void taken();
  void hang_up() noexcept;

  Host& host_;
  int type_;
  pid_t owner_;
  pid_t peer_process_ = 0;  // who has made the other end; 0: nobody
  bool bound_ = false;
  bool listening_ = false;
  bool connected_ = false;
  bool ended_ = false;  // the peer sends no more
  bool shut_read_ = false;
  bool shut_write_ = false;
  bool gone_ = false;
  int error_ = 0;
  SocketOptions options_;
  io::Address local_;
  io::Address peer_address_;
  std::uint64_t file_ = 0;  // the inode that it is bound to
  std::weak_ptr<UnixSocket> peer_;
  std::weak_ptr<UnixSocket> full_;  // a send of `blocked_size_` bytes to it found no room
  std::size_t blocked_size_ = 0;
  std::vector<std::weak_ptr<UnixSocket>> senders_;  // that wait for room here
  std::deque<Message> queue_;
  std::size_t offset_ = 0;  // bytes of the first message that were read
  std::size_t queued_ = 0;  // bytes, as the kernel counts them: with what it takes to keep each message
  std::deque<std::shared_ptr<UnixSocket>> backlog_;
  std::size_t backlog_room_ = 0;
  // Of a stream.
  std::shared_ptr<Transcript> incoming_;
  std::shared_ptr<Transcript> outgoing_;
};

}  // namespace horus::HORUS_ABI::sim::detail
