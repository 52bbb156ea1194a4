// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/stream.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include <netinet/in.h>
#include <sys/epoll.h>

#include <horus/sim/engine/engine.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::int64_t kConnectLimit_ns = 127'000'000'000;  // tcp_syn_retries 6
constexpr std::int64_t kSynRetry_ns = 1'000'000'000;

}  // namespace

void Stream::join(const std::shared_ptr<Stream>& one, const std::shared_ptr<Stream>& other) noexcept {
  one->peer_ = other;
  other->peer_ = one;
  one->state_ = other->state_ = State::connected;
  keep_transcripts(*one, *other);
}

void Stream::keep_transcripts(Stream& one, Stream& other) {
  one.outgoing_ = other.incoming_ = std::make_shared<Transcript>();
  other.outgoing_ = one.incoming_ = std::make_shared<Transcript>();
}

std::uint32_t Stream::ready() const noexcept {
  switch (state_) {
    case State::listening: return waiting_.empty() ? 0U : EPOLLIN;
    case State::fresh: return kind_ == Kind::socket ? EPOLLOUT | EPOLLHUP : 0U;
    case State::connecting: return 0;
    case State::failed: return EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | (error_ != 0 ? EPOLLERR : 0U);
    case State::closed: return EPOLLHUP;
    case State::connected: break;
  }
  std::uint32_t events = 0;
  const bool socket = kind_ == Kind::socket;
  if (unread() > 0) events |= EPOLLIN;
  if (ended_ || shut_read_) events |= socket ? EPOLLIN | EPOLLRDHUP : EPOLLHUP;
  if (socket && ended_ && shut_write_) events |= EPOLLHUP;
  if (!shut_write_) {
    const Stream* to = peer_.get();
    if (to == nullptr) {
      if (!socket) events |= EPOLLERR | EPOLLOUT;
      if (socket) events |= EPOLLOUT;
    } else if (to->unread() + to->on_the_way_ < to->capacity_) {
      events |= EPOLLOUT;
    }
  } else if (socket) {
    events |= EPOLLOUT;
  }
  return events;
}

ssize_t Stream::receive(msghdr& message, int flags) {
  if (state_ == State::fresh || state_ == State::listening || state_ == State::connecting) return -ENOTCONN;
  if (error_ != 0) return -std::exchange(error_, 0);
  message.msg_controllen = 0;
  message.msg_flags = 0;
  if (unread() > 0) {
    const std::size_t copied = scatter(std::string_view(arrived_).substr(taken_), message);
    if ((flags & MSG_PEEK) != 0) return static_cast<ssize_t>(copied);
    taken_ += copied;
    if (taken_ == arrived_.size()) {
      arrived_.clear();
      taken_ = 0;
    } else if (taken_ > 65536) {
      arrived_.erase(0, std::exchange(taken_, 0));
    }
    if (peer_ && peer_->told_full_) {
      peer_->told_full_ = false;
      peer_->changed();
    }
    return static_cast<ssize_t>(copied);
  }
  if (size_of(message) == 0) return 0;
  if (ended_ || shut_read_ || state_ == State::failed) return 0;
  return -EAGAIN;
}

ssize_t Stream::send(const msghdr& message, int) {
  if (state_ == State::fresh || state_ == State::listening || state_ == State::connecting) return -ENOTCONN;
  if (error_ != 0) return -std::exchange(error_, 0);
  if (shut_write_ || state_ != State::connected || !peer_) return -EPIPE;
  const std::size_t wanted = size_of(message);
  if (wanted == 0) return 0;
  const std::size_t used = peer_->unread() + peer_->on_the_way_;
  const std::size_t room = used < peer_->capacity_ ? peer_->capacity_ - used : 0;
  if (room == 0) {
    told_full_ = true;
    return -EAGAIN;
  }
  std::string data = gather(message, room);
  const std::size_t sent = data.size();
  if (sent < wanted) told_full_ = true;
  send_segment({std::move(data), false});
  return static_cast<ssize_t>(sent);
}

// To the other end: at once on a pipe, over the network otherwise, in order.
void Stream::send_segment(Segment segment) noexcept {
  Stream& to = *peer_;
  to.on_the_way_ += segment.data.size();
  if (host_ == nullptr || to.host_ == nullptr) {
    static_cast<void>(to.deliver(segment));
    return;
  }
  std::int64_t when = engine().arrival(*host_, *to.host_, to.last_arrival_);
  const unsigned lost = engine().faults().slow_segment;
  if (when != kNever && host_ != to.host_ && lost > 0 && engine().fault_random().chance(lost, 1000)) {
    when += kRetransmit_ns;
  }
  to.last_arrival_ = when;
  auto self = std::static_pointer_cast<Stream>(shared_from_this());
  engine().at(when, [self, target = peer_, piece = std::move(segment)] {
    if (!target->deliver(piece)) self->fail(ECONNRESET);  // data for a socket that is closed
  });
}

bool Stream::deliver(const Segment& segment) noexcept {
  on_the_way_ -= segment.data.size();
  engine().trace(Trace::arrival, segment.data.size(), segment.last ? 1 : 0);
  if (state_ != State::connected) return segment.data.empty();
  if (!shut_read_) arrived_ += segment.data;
  if (segment.last) ended_ = true;
  changed();
  return true;
}

void Stream::fail(int error) noexcept {
  if (state_ == State::closed || state_ == State::failed) return;
  state_ = State::failed;
  error_ = error;
  arrived_.clear();
  taken_ = 0;
  peer_.reset();
  changed();
}

void Stream::reset() noexcept {
  const auto peer = peer_;
  const auto self = shared_from_this();
  if (peer) peer->fail(ECONNRESET);
  fail(ECONNRESET);
}

int Stream::shutdown(int how) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  if (state_ == State::listening) {
    state_ = State::failed;
    host_->tcp.stop_listening(this);
    changed();
    return 0;
  }
  if (state_ != State::connected) return -ENOTCONN;
  if (how == SHUT_RD || how == SHUT_RDWR) shut_read_ = true;
  if ((how == SHUT_WR || how == SHUT_RDWR) && !shut_write_) {
    shut_write_ = true;
    if (peer_) send_segment({{}, true});
  }
  changed();
  return 0;
}

void Stream::closed() {
  const State was = std::exchange(state_, State::closed);
  if (host_ != nullptr && bound_) host_->tcp.release(this);
  if (was == State::listening || (was == State::failed && bound_)) {
    for (const auto& stream : std::exchange(waiting_, {})) {
      if (const auto client = stream->peer_) client->fail(ECONNRESET);
      stream->peer_.reset();
    }
    return;
  }
  if (was != State::connected || !peer_) return;
  const auto peer = std::exchange(peer_, nullptr);
  const bool lost = kind_ == Kind::socket && (unread() > 0 || options_.resets_on_close());
  if (lost) {
    // Closed with unread input, or in anger: the peer gets a reset instead of an end.
    if (host_ == nullptr || peer->host_ == nullptr) return peer->fail(ECONNRESET);
    const std::int64_t when = engine().arrival(*host_, *peer->host_, peer->last_arrival_);
    engine().at(when, [peer] { peer->fail(ECONNRESET); });
    return;
  }
  const bool local = host_ == nullptr || peer->host_ == nullptr;
  const auto end = [peer, local] {
    if (peer->state_ != State::connected) return;
    peer->ended_ = true;
    if (local) peer->peer_.reset();  // its next write fails at once; over the network it takes a reset
    peer->changed();
  };
  if (local) return end();
  const std::int64_t when = engine().arrival(*host_, *peer->host_, peer->last_arrival_);
  peer->last_arrival_ = when;
  engine().at(when, end);
}

int Stream::bind(Host& host, const io::Address& address) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  if (bound_ || state_ != State::fresh) return -EINVAL;
  if (address.family() != family_) return -EAFNOSUPPORT;
  if (!is_of(host, address)) return -EADDRNOTAVAIL;
  std::uint16_t port = address.port();
  if (port == 0) port = engine().free_port(host, true);
  if (port == 0) return -EADDRINUSE;
  Ports::Binding binding{.socket = this, .address = address.with_port(port)};
  binding.only_v6 = options_.value(IPPROTO_IPV6, IPV6_V6ONLY) != 0;
  binding.reuse_address = options_.value(SOL_SOCKET, SO_REUSEADDR) != 0;
  binding.reuse_port = options_.value(SOL_SOCKET, SO_REUSEPORT) != 0;
  if (const int result = host.tcp.bind(binding); result < 0) return result;
  local_ = binding.address;
  host_ = &host;
  bound_ = true;
  return 0;
}

int Stream::listen(int backlog) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  if (state_ == State::listening) return 0;
  if (state_ != State::fresh || !bound_) return -EINVAL;
  if (const int result = host_->tcp.listen(this); result < 0) return result;
  backlog_ = static_cast<std::size_t>(std::clamp(backlog, 1, 4096));
  state_ = State::listening;
  return 0;
}

std::shared_ptr<Object> Stream::accept(int& error) {
  if (state_ != State::listening) {
    error = -EINVAL;
    return nullptr;
  }
  if (waiting_.empty()) {
    error = -EAGAIN;
    return nullptr;
  }
  auto stream = waiting_.front();
  waiting_.pop_front();
  return stream;
}

int Stream::connect(Host& host, const io::Address& address) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  if (state_ == State::connecting) return -EALREADY;
  if (state_ == State::connected) return -EISCONN;
  if (state_ != State::fresh) return -ECONNABORTED;
  if (address.family() != family_) return -EAFNOSUPPORT;
  host_ = &host;
  peer_address_ = address;
  if (!bound_) {
    const std::uint16_t port = engine().free_port(host, true);
    if (port == 0) return -EADDRNOTAVAIL;
    local_ = address_on(host, address).with_port(port);
  }
  Host* target = engine().host_of(host, address);
  if (target == nullptr) return -EHOSTUNREACH;
  state_ = State::connecting;
  auto self = std::static_pointer_cast<Stream>(shared_from_this());
  const std::int64_t give_up = saturating_add(engine().now(), kConnectLimit_ns);
  // The request travels; it is repeated while a partition or a full backlog swallows it.
  struct Attempt {
    static void send(const std::shared_ptr<Stream>& client, Host* to, std::int64_t give_up_at) {
      if (client->state_ != State::connecting) return;
      Engine& engine = client->engine();
      const std::int64_t when = engine.arrival(*client->host_, *to, 0);
      if (when >= give_up_at) {
        engine.at(give_up_at, [client] { client->connect_ended(nullptr, ETIMEDOUT); });
        return;
      }
      engine.at(when, [client, to, give_up_at] { arrive(client, to, give_up_at); });
    }
    static void arrive(const std::shared_ptr<Stream>& client, Host* to, std::int64_t give_up_at) {
      if (client->state_ != State::connecting) return;
      Engine& engine = client->engine();
      auto* found = static_cast<Stream*>(to->tcp.find(client->peer_address_, engine.random()));
      if (found == nullptr) {
        const std::int64_t back = engine.arrival(*to, *client->host_, 0);
        engine.at(back, [client] { client->connect_ended(nullptr, ECONNREFUSED); });
        return;
      }
      Stream& listener = *found;
      if (listener.waiting_.size() >= listener.backlog_) {
        engine.at(engine.now() + kSynRetry_ns, [client, to, give_up_at] { send(client, to, give_up_at); });
        return;
      }
      listener.arrived_at_listener(client);
    }
  };
  Attempt::send(self, target, give_up);
  return -EINPROGRESS;
}

void Stream::arrived_at_listener(const std::shared_ptr<Stream>& client) noexcept {
  auto server = std::make_shared<Stream>(engine(), Kind::socket, family_);
  server->state_ = State::connected;
  server->host_ = host_;
  server->local_ = client->peer_address_;
  server->peer_address_ = client->local_;
  server->peer_ = client;
  server->capacity_ = capacity_;
  server->options_ = options_;
  keep_transcripts(*server, *client);
  waiting_.push_back(server);
  engine().add_connection(server);
  changed();
  const std::int64_t back = engine().arrival(*host_, *client->host_, client->last_arrival_);
  client->last_arrival_ = back;
  engine().at(back, [client, server] { client->connect_ended(server, 0); });
}

void Stream::connect_ended(const std::shared_ptr<Stream>& peer, int error) noexcept {
  if (state_ != State::connecting) {  // it has given up meanwhile
    if (peer) {
      peer->fail(ECONNRESET);
    }
    return;
  }
  connect_error_ = error;
  if (error != 0) {
    state_ = State::failed;
  } else if (peer->state_ != State::connected) {
    state_ = State::failed;
    connect_error_ = ECONNRESET;
  } else {
    peer_ = peer;
    state_ = State::connected;
  }
  changed();
}

int Stream::connect_result() { return -connect_error_; }

int Stream::set_option(int level, int option, const void* value, socklen_t size) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  const int result = options_.set(level, option, value, size);
  if (result == 0 && level == SOL_SOCKET && option == SO_RCVBUF)
    capacity_ = static_cast<std::size_t>(options_.value(level, option)) / 2;
  return result;
}

int Stream::get_option(int level, int option, void* value, socklen_t* size) {
  if (kind_ != Kind::socket) return -ENOTSOCK;
  if (level != SOL_SOCKET) return options_.get(level, option, value, size);
  int answer = 0;
  switch (option) {
    case SO_ERROR: answer = error_ != 0 ? std::exchange(error_, 0) : std::exchange(connect_error_, 0); break;
    case SO_TYPE: answer = SOCK_STREAM; break;
    case SO_DOMAIN: answer = family_; break;
    case SO_PROTOCOL: answer = IPPROTO_TCP; break;
    case SO_ACCEPTCONN: answer = state_ == State::listening ? 1 : 0; break;
    default: return options_.get(level, option, value, size);
  }
  *size = std::min<socklen_t>(*size, sizeof answer);
  std::memcpy(value, &answer, *size);
  return 0;
}

}  // namespace horus::HORUS_ABI::sim::detail
