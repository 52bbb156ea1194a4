// SPDX-License-Identifier: Apache-2.0
// Byte streams of the simulated world: TCP connections and listeners, pipes.
// One thread, the world's. Descriptors and segments on their way share them; the last descriptor's end closes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include <horus/io/address.hpp>
#include <horus/sim/base/objects.hpp>
#include <horus/sim/base/socket_options.hpp>
#include <horus/sim/base/transcript.hpp>

namespace horus::HORUS_ABI::sim::detail {

/// One end of a byte stream: a TCP connection, a pipe.
class Stream final : public Object {
 public:
  enum class State : std::uint8_t { fresh, listening, connecting, connected, failed, closed };

  Stream(Engine& engine, Kind kind, int family) noexcept : Object(engine), kind_(kind), family_(family) {}
  /// Two ends that are connected on one host, at once.
  static void keep_transcripts(Stream& one, Stream& other);
  static void join(const std::shared_ptr<Stream>& one, const std::shared_ptr<Stream>& other) noexcept;

  [[nodiscard]] Kind kind() const noexcept override { return kind_; }
  [[nodiscard]] bool is_byte_stream() const noexcept override { return true; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;
  ssize_t send(const msghdr& message, int flags) override;
  int shutdown(int how) override;
  void closed() override;
  int bind(Host& host, const io::Address& address) override;
  int listen(int backlog) override;
  int connect(Host& host, const io::Address& address) override;
  int connect_result() override;
  int set_option(int level, int option, const void* value, socklen_t size) override;
  int get_option(int level, int option, void* value, socklen_t* size) override;
  std::shared_ptr<Object> accept(int& error) override;
  [[nodiscard]] const io::Address* local() const noexcept override { return &local_; }
  [[nodiscard]] const io::Address* peer() const noexcept override {
    return state_ == State::connected ? &peer_address_ : nullptr;
  }

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] Host* host() const noexcept { return host_; }
  /// The other side has answered, or nobody has: `error`.
  void connect_ended(const std::shared_ptr<Stream>& peer, int error) noexcept;
  /// The connection breaks: both sides see ECONNRESET, without a word on the way.
  void reset() noexcept;
  [[nodiscard]] const std::shared_ptr<Stream>& other_end() const noexcept { return peer_; }
  [[nodiscard]] Transcript* incoming() const noexcept override { return incoming_.get(); }
  [[nodiscard]] Transcript* outgoing() const noexcept override { return outgoing_.get(); }
  void set_capacity(std::size_t bytes) noexcept { capacity_ = bytes; }

 private:
  friend class Engine;
  // What comes towards this end.
  struct Segment {
    std::string data;
    bool last = false;
  };
  [[nodiscard]] std::size_t unread() const noexcept { return arrived_.size() - taken_; }
  /// False when nobody can take it any more.
  bool deliver(const Segment& segment) noexcept;
  void send_segment(Segment segment) noexcept;
  void fail(int error) noexcept;
  void arrived_at_listener(const std::shared_ptr<Stream>& client) noexcept;

  Kind kind_;
  int family_;
  SocketOptions options_;
  State state_ = State::fresh;
  bool bound_ = false;
  bool ended_ = false;  // the peer sends no more, and everything has arrived
  bool shut_read_ = false;
  bool shut_write_ = false;
  bool told_full_ = false;  // a send found no room: tell when there is some
  int error_ = 0;           // to be told once
  int connect_error_ = 0;
  Host* host_ = nullptr;
  io::Address local_;
  io::Address peer_address_;
  std::shared_ptr<Stream> peer_;
  std::shared_ptr<Transcript> incoming_;
  std::shared_ptr<Transcript> outgoing_;
  std::string arrived_;
  std::size_t taken_ = 0;
  std::size_t on_the_way_ = 0;  // bytes towards this end that have not arrived
  std::size_t capacity_ = 65536;
  std::int64_t last_arrival_ = 0;
  // A listener's.
  std::deque<std::shared_ptr<Stream>> waiting_;
  std::size_t backlog_ = 0;
};

}  // namespace horus::HORUS_ABI::sim::detail
