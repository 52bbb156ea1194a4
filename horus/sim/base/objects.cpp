// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/base/objects.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/epoll.h>

namespace horus::HORUS_ABI::sim::detail {

// --- Messages and addresses -------------------------------------------------------------------------------------------

msghdr message_of(iovec* parts, std::size_t count) noexcept {
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = count;
  return message;
}

std::size_t size_of(const msghdr& message) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) size += message.msg_iov[i].iov_len;
  return size;
}

std::string gather(const msghdr& message, std::size_t limit) {
  std::string data;
  data.reserve(std::min(limit, size_of(message)));
  for (std::size_t i = 0; i < message.msg_iovlen && data.size() < limit; ++i) {
    const iovec& part = message.msg_iov[i];
    data.append(static_cast<const char*>(part.iov_base), std::min(part.iov_len, limit - data.size()));
  }
  return data;
}

std::size_t scatter(std::string_view data, msghdr& message) noexcept {
  std::size_t copied = 0;
  for (std::size_t i = 0; i < message.msg_iovlen && copied < data.size(); ++i) {
    const iovec& part = message.msg_iov[i];
    const std::size_t size = std::min(part.iov_len, data.size() - copied);
    if (size > 0) std::memcpy(part.iov_base, data.data() + copied, size);
    copied += size;
  }
  return copied;
}

bool is_any(const io::Address& address) { return address.host() == "0.0.0.0" || address.host() == "::"; }

int copy_address(const io::Address* from, sockaddr* to, socklen_t* size) noexcept {
  if (from == nullptr) return -ENOTCONN;
  std::memcpy(to, from->data(), std::min(*size, from->size()));
  *size = from->size();
  return 0;
}

// --- Object -----------------------------------------------------------------------------------------------------------

ssize_t Object::receive(msghdr&, int) { return -EINVAL; }
ssize_t Object::send(const msghdr&, int) { return -EINVAL; }
int Object::shutdown(int) { return -ENOTSOCK; }
int Object::bind(Host&, const io::Address&) { return -ENOTSOCK; }
int Object::listen(int) { return kind() == Kind::socket ? -EOPNOTSUPP : -ENOTSOCK; }
int Object::connect(Host&, const io::Address&) { return -ENOTSOCK; }
int Object::connect_result() { return -ENOTSOCK; }
int Object::set_option(int, int, const void*, socklen_t) { return -ENOTSOCK; }
int Object::get_option(int, int, void*, socklen_t*) { return -ENOTSOCK; }
std::shared_ptr<Object> Object::accept(int& error) {
  error = kind() == Kind::socket ? -EOPNOTSUPP : -ENOTSOCK;
  return nullptr;
}

void Object::opened_as(Referrer& kernel, int fd) { references_.push_back({&kernel, fd}); }
void Object::closed_as(Referrer& kernel, int fd) {
  std::erase_if(references_, [&](const Reference& one) { return one.kernel == &kernel && one.fd == fd; });
  if (references_.empty() && held_ == 0) closed();
}
void Object::let_go() {
  if (--held_ == 0 && references_.empty()) closed();
}
ssize_t Object::send_with(const msghdr& message, int flags, std::vector<Held>&&) {
  return send(message, flags);
}
ssize_t Object::receive_with(msghdr& message, int flags, std::vector<Held>&) {
  return receive(message, flags);
}
void Object::changed() noexcept {
  for (const Reference& one : references_) one.kernel->touch(one.fd);
}

// --- Counter ----------------------------------------------------------------------------------------------------------

std::uint32_t Counter::ready() const noexcept {
  return (count_ > 0 ? EPOLLIN : 0U) | (count_ < UINT64_MAX - 1 ? EPOLLOUT : 0U);
}
ssize_t Counter::receive(msghdr& message, int) {
  if (size_of(message) < sizeof count_) return -EINVAL;
  if (count_ == 0) return -EAGAIN;
  const std::uint64_t value = std::exchange(count_, 0);
  scatter({reinterpret_cast<const char*>(&value), sizeof value}, message);
  changed();
  return sizeof value;
}
ssize_t Counter::send(const msghdr& message, int) {
  const std::string data = gather(message, sizeof count_);
  if (data.size() < sizeof count_) return -EINVAL;
  std::uint64_t value = 0;
  std::memcpy(&value, data.data(), sizeof value);
  if (value == UINT64_MAX) return -EINVAL;
  if (count_ > UINT64_MAX - 1 - value) return -EAGAIN;
  count_ += value;
  changed();
  return sizeof value;
}

}  // namespace horus::HORUS_ABI::sim::detail
