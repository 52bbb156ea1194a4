// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/unix_socket.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fmt/format.h>

#include <horus/sim/engine/engine.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::size_t kSocketRoom = 212992;   // net.core.wmem_default
constexpr std::size_t kDatagramsQueued = 11;  // net.unix.max_dgram_qlen and the one on its way
constexpr std::size_t kLargestMessage = kSocketRoom - 32;
constexpr std::size_t kLargestPiece = kSocketRoom / 2 - 64;  // of a stream, in one buffer

// What a piece of data counts as until all of it was read (skb->truesize on 64 bits): one byte costs 768.
std::size_t counted(std::size_t bytes) noexcept {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kHead = 256;  // struct sk_buff
  constexpr std::size_t kTail = 320;  // struct skb_shared_info
  if (bytes + kTail <= kPage) return kHead + std::bit_ceil(bytes + kTail);
  return kHead + 512 + (bytes + kPage - 1) / kPage * kPage;
}

// "" when the address has no name, as a socket that was never bound.
std::string name_of(const io::Address& address) {
  constexpr std::size_t kOffset = offsetof(sockaddr_un, sun_path);
  if (address.size() <= kOffset) return {};
  const auto* raw = reinterpret_cast<const sockaddr_un*>(address.data());
  const std::size_t size = address.size() - kOffset;
  if (raw->sun_path[0] == '\0') return {raw->sun_path, size};
  return {raw->sun_path, ::strnlen(raw->sun_path, size)};
}

io::Address no_name() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  return io::Address::from(reinterpret_cast<const sockaddr*>(&address), sizeof address.sun_family);
}

}  // namespace

UnixSocket::UnixSocket(Engine& engine, Host& host, int type, pid_t owner) noexcept
    : Object(engine), host_(host), type_(type), owner_(owner), local_(no_name()), peer_address_(no_name()) {}

void UnixSocket::join(const std::shared_ptr<UnixSocket>& one,
                      const std::shared_ptr<UnixSocket>& other) noexcept {
  one->peer_ = other;
  other->peer_ = one;
  one->connected_ = other->connected_ = true;
  one->peer_process_ = other->owner_;
  other->peer_process_ = one->owner_;
  if (one->type_ != SOCK_STREAM) return;
  one->outgoing_ = other->incoming_ = std::make_shared<Transcript>();
  other->outgoing_ = one->incoming_ = std::make_shared<Transcript>();
}

bool UnixSocket::has_room(std::size_t size) const noexcept {
  if (is_datagram() && queue_.size() >= kDatagramsQueued) return false;
  return type_ == SOCK_STREAM ? queued_ < kSocketRoom
                              : queue_.empty() || queued_ + counted(size) <= kSocketRoom;
}

std::uint32_t UnixSocket::ready() const noexcept {
  if (listening_) return backlog_.empty() ? 0U : EPOLLIN;
  std::uint32_t events = 0;
  if (!queue_.empty()) events |= EPOLLIN;
  if (error_ != 0) events |= EPOLLERR | EPOLLIN | EPOLLOUT;
  if (!is_datagram() && !connected_) return events | EPOLLOUT | EPOLLHUP;
  if (ended_ || shut_read_) events |= EPOLLIN | EPOLLRDHUP;
  const auto peer = peer_.lock();
  if (ended_ && !is_datagram() && (shut_write_ || peer == nullptr || peer->gone_)) events |= EPOLLHUP;
  const auto full = full_.lock();
  if (full == nullptr || full->has_room(blocked_size_)) events |= EPOLLOUT;
  return events;
}

// --- Receiving --------------------------------------------------------------------------------------------------------

ssize_t UnixSocket::receive(msghdr& message, int flags) {
  std::vector<Held> unwanted;
  return receive_with(message, flags, unwanted);
}

ssize_t UnixSocket::receive_with(msghdr& message, int flags, std::vector<Held>& rights) {
  if (listening_ || (!is_datagram() && !connected_)) return -ENOTCONN;
  if (error_ != 0) return -std::exchange(error_, 0);
  message.msg_flags = 0;
  if (queue_.empty()) {
    if (!is_datagram() && (ended_ || shut_read_ || size_of(message) == 0)) return 0;
    return ended_ || shut_read_ ? 0 : -EAGAIN;
  }
  const bool peek = (flags & MSG_PEEK) != 0;
  std::size_t copied = 0;
  if (type_ == SOCK_STREAM) {
    read_stream(message, peek, rights, copied);
    message.msg_namelen = 0;
    return static_cast<ssize_t>(copied);
  }
  Message& first = queue_.front();
  const std::size_t whole = first.data.size();
  copied = scatter(first.data, message);
  if (message.msg_name != nullptr) {
    std::memcpy(message.msg_name, first.from.data(), std::min(message.msg_namelen, first.from.size()));
    message.msg_namelen = first.from.size();
  }
  if (copied < whole) message.msg_flags |= MSG_TRUNC;
  if (!peek) {
    rights = std::move(first.rights);
    queued_ -= counted(whole);
    queue_.pop_front();
    taken();
  }
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? whole : copied);
}

// Bytes of one message after the other, but never across descriptors.
void UnixSocket::read_stream(msghdr& message, bool peek, std::vector<Held>& rights, std::size_t& copied) {
  const std::size_t wanted = size_of(message);
  std::string data;
  std::size_t at = 0;
  std::size_t skip = offset_;
  while (data.size() < wanted && at < queue_.size()) {
    Message& next = queue_[at];
    if (!data.empty() && !next.rights.empty()) break;
    const bool carried = !next.rights.empty();
    const std::size_t size = std::min(wanted - data.size(), next.data.size() - skip);
    data.append(next.data, skip, size);
    skip += size;
    if (carried && !peek) rights = std::exchange(next.rights, {});
    if (skip < next.data.size()) break;
    skip = 0;
    ++at;
    if (carried) break;
  }
  copied = scatter(data, message);
  if (peek || copied == 0) return;
  for (std::size_t i = 0; i < at; ++i) queued_ -= counted(queue_[i].data.size());
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(at));
  offset_ = skip;
  taken();
}

void UnixSocket::taken() {
  for (const auto& waiting : std::exchange(senders_, {})) {
    if (const auto sender = waiting.lock()) sender->changed();
  }
}

// --- Sending ----------------------------------------------------------------------------------------------------------

ssize_t UnixSocket::send(const msghdr& message, int flags) { return send_with(message, flags, {}); }

std::shared_ptr<UnixSocket> UnixSocket::target(const msghdr& message, int& error) {
  if (is_datagram() && message.msg_name != nullptr) {
    UnixSocket* found = nullptr;
    error = look_up(io::Address::from(static_cast<const sockaddr*>(message.msg_name), message.msg_namelen),
                    found);
    return error < 0 ? nullptr : std::static_pointer_cast<UnixSocket>(found->shared_from_this());
  }
  auto peer = peer_.lock();
  if (peer && !peer->gone_) return peer;
  error = !connected_ ? -ENOTCONN : is_datagram() ? -ECONNREFUSED : -EPIPE;
  return nullptr;
}

ssize_t UnixSocket::send_with(const msghdr& message, int, std::vector<Held>&& rights) {
  if (error_ != 0) return -std::exchange(error_, 0);
  if (shut_write_) return -EPIPE;
  int error = 0;
  const auto to = target(message, error);
  if (!to) return error;
  if (to->shut_read_) return -EPIPE;
  const std::size_t size = size_of(message);
  if (type_ != SOCK_STREAM && size > kLargestMessage) return -EMSGSIZE;
  if (type_ == SOCK_STREAM && size == 0) return 0;
  if (!to->has_room(size)) {
    full_ = to;
    blocked_size_ = size;
    to->senders_.push_back(std::static_pointer_cast<UnixSocket>(shared_from_this()));
    return -EAGAIN;
  }
  full_.reset();
  Message piece;
  piece.data = gather(message, type_ == SOCK_STREAM ? kLargestPiece : size);
  piece.from = local_;
  piece.rights = std::move(rights);
  const std::size_t sent = piece.data.size();
  engine().trace(Trace::arrival, sent, 3);
  to->queued_ += counted(sent);
  to->queue_.push_back(std::move(piece));
  to->changed();
  return static_cast<ssize_t>(sent);
}

// --- Connecting -------------------------------------------------------------------------------------------------------

int UnixSocket::look_up(const io::Address& address, UnixSocket*& found) {
  const std::string name = name_of(address);
  if (address.family() != AF_UNIX || name.empty()) return -EINVAL;
  if (name.front() == '\0') {
    const auto place = host_.bound_names.find(name);
    if (place == host_.bound_names.end()) return -ECONNREFUSED;
    found = place->second;
  } else {
    struct ::statx status{};
    if (const int result = host_.disk.status(nullptr, name, 0, status); result < 0) return result;
    const auto place = host_.bound_files.find(status.stx_ino);
    if (!S_ISSOCK(status.stx_mode) || place == host_.bound_files.end()) return -ECONNREFUSED;
    found = place->second;
  }
  return found->type_ == type_ ? 0 : -EPROTOTYPE;
}

int UnixSocket::bind(Host&, const io::Address& address) {
  if (address.family() != AF_UNIX) return -EINVAL;
  if (bound_) return -EINVAL;
  std::string name = name_of(address);
  local_ = address;
  if (name.empty()) {  // a name of the kernel's choice
    for (unsigned number = 0; name.empty() || host_.bound_names.contains(name); ++number)
      name = std::string(1, '\0') + fmt::format("{:05x}", number);
    local_ = *io::Address::unix_abstract(std::string_view(name).substr(1));
  }
  if (name.front() == '\0') {
    if (!host_.bound_names.emplace(name, this).second) return -EADDRINUSE;
  } else {
    const int result = host_.disk.make_node(name, S_IFSOCK | 0755, engine().now(), file_);
    if (result < 0) return result == -EEXIST ? -EADDRINUSE : result;
    host_.bound_files[file_] = this;
  }
  bound_ = true;
  return 0;
}

int UnixSocket::listen(int backlog) {
  if (is_datagram()) return -EOPNOTSUPP;
  if (!bound_ || connected_) return -EINVAL;
  listening_ = true;
  backlog_room_ = static_cast<std::size_t>(std::clamp(backlog, 1, 4096));
  return 0;
}

int UnixSocket::connect(Host&, const io::Address& address) {
  if (is_datagram() && address.family() == AF_UNSPEC) {
    connected_ = false;
    peer_.reset();
    return 0;
  }
  if (!is_datagram() && connected_) return -EISCONN;
  if (listening_) return -EINVAL;
  UnixSocket* found = nullptr;
  if (const int result = look_up(address, found); result < 0) return result;
  const auto there = std::static_pointer_cast<UnixSocket>(found->shared_from_this());
  peer_address_ = address;
  if (is_datagram()) {
    peer_ = there;
    connected_ = true;
    return 0;
  }
  if (!there->listening_) return -ECONNREFUSED;
  if (there->backlog_.size() >= there->backlog_room_) return -EAGAIN;
  auto server = std::make_shared<UnixSocket>(engine(), host_, type_, there->owner_);
  auto self = std::static_pointer_cast<UnixSocket>(shared_from_this());
  join(self, server);
  server->local_ = there->local_;
  server->peer_address_ = local_;
  there->backlog_.push_back(std::move(server));
  there->changed();
  return 0;
}

std::shared_ptr<Object> UnixSocket::accept(int& error) {
  if (!listening_ || backlog_.empty()) {
    error = listening_ ? (shut_read_ ? -EINVAL : -EAGAIN) : (is_datagram() ? -EOPNOTSUPP : -EINVAL);
    return nullptr;
  }
  auto next = std::move(backlog_.front());
  backlog_.pop_front();
  return next;
}

// --- Options ----------------------------------------------------------------------------------------------------------

int UnixSocket::set_option(int level, int option, const void* value, socklen_t size) {
  return level == SOL_SOCKET ? options_.set(level, option, value, size) : -EOPNOTSUPP;
}

int UnixSocket::get_option(int level, int option, void* value, socklen_t* size) {
  if (level != SOL_SOCKET) return -EOPNOTSUPP;
  const auto answer = [&](const auto& what) {
    *size = std::min<socklen_t>(*size, sizeof what);
    std::memcpy(value, &what, *size);
    return 0;
  };
  switch (option) {
    case SO_PEERCRED: {
      const bool nobody = peer_process_ == 0;
      return answer(ucred{peer_process_, nobody ? ~uid_t{0} : kUser, nobody ? ~gid_t{0} : kUser});
    }
    case SO_ERROR: return answer(std::exchange(error_, 0));
    case SO_TYPE: return answer(type_);
    case SO_DOMAIN: return answer(int{AF_UNIX});
    case SO_PROTOCOL: return answer(0);
    case SO_ACCEPTCONN: return answer(listening_ ? 1 : 0);
    default: return options_.get(level, option, value, size);
  }
}

// --- The end ----------------------------------------------------------------------------------------------------------

int UnixSocket::shutdown(int how) {
  if (listening_) {
    shut_read_ = true;
    changed();
    return 0;
  }
  if (!connected_) return -ENOTCONN;
  const auto peer = peer_.lock();
  const bool both_ways = !is_datagram() && peer != nullptr;
  if (how != SHUT_WR) {
    shut_read_ = true;
    if (both_ways) peer->shut_write_ = true;
  }
  if (how != SHUT_RD) {
    shut_write_ = true;
    if (both_ways) peer->ended_ = true;
  }
  if (both_ways) peer->changed();
  changed();
  return 0;
}

void UnixSocket::hang_up() noexcept {
  const auto peer = peer_.lock();
  if (is_datagram() || peer == nullptr || peer->gone_) return;
  peer->ended_ = true;
  if (!queue_.empty()) peer->error_ = ECONNRESET;  // what it sent was never read
  peer->changed();
}

void UnixSocket::closed() {
  if (std::exchange(gone_, true)) return;
  if (bound_ && file_ != 0) host_.bound_files.erase(file_);
  if (bound_ && file_ == 0) host_.bound_names.erase(name_of(local_));
  hang_up();
  for (const auto& waiting : std::exchange(backlog_, {})) {
    if (const auto client = waiting->peer_.lock()) client->error_ = ECONNRESET;
    waiting->closed();
  }
  const auto unread = std::exchange(queue_, {});  // closes what came with it
  taken();
}

}  // namespace horus::HORUS_ABI::sim::detail
