// SPDX-License-Identifier: Apache-2.0
// Messages: scattered bytes, with descriptors in them (SCM_RIGHTS).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/socket.h>

#include <horus/sim/kernel/kernel.hpp>

namespace horus::HORUS_ABI::sim::detail {

ssize_t SimProvider::send_message(int fd, const msghdr& message, int flags) noexcept {
  Object* object = sender(fd);
  if (object == nullptr) return -EBADF;
  std::vector<Held> rights;
  for (const cmsghdr* control = CMSG_FIRSTHDR(&message); control != nullptr;
       control = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(control))) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int number = -1;
      std::memcpy(&number, CMSG_DATA(control) + i * sizeof number, sizeof number);
      auto right = shared(number);
      if (!right) return moved("send", fd, -EBADF);
      rights.emplace_back(std::move(right));
    }
  }
  if (!object->is_byte_stream())
    return moved("send", fd, object->send_with(message, flags, std::move(rights)));
  auto parts = shortened(message.msg_iov, message.msg_iovlen);
  msghdr some = message;
  some.msg_iov = parts.data();
  return moved("send", fd, object->send_with(some, flags, std::move(rights)));
}

ssize_t SimProvider::receive_message(int fd, msghdr& message, int flags) noexcept {
  Object* object = receiver(fd);
  if (object == nullptr) return -EBADF;
  const std::size_t room = message.msg_controllen;
  std::vector<Held> rights;
  iovec* const whole = message.msg_iov;
  std::vector<iovec> parts;
  if (object->is_byte_stream()) {
    parts = shortened(whole, message.msg_iovlen);
    message.msg_iov = parts.data();
  }
  const ssize_t result = object->receive_with(message, flags, rights);
  message.msg_iov = whole;
  if (result < 0) return moved("receive", fd, result);  // the caller's room stays what it was
  if (!object->writes_control()) message.msg_controllen = 0;
  if (!rights.empty()) message.msg_flags |= give_rights(message, rights, room);
  return moved("receive", fd, result);
}

// Opens what came with a message as descriptors of this process, as many as find room. Gives MSG_CTRUNC when some did
// not; those are closed.
int SimProvider::give_rights(msghdr& message, std::vector<Held>& rights, std::size_t room) {
  const std::size_t places = room < CMSG_LEN(0) ? 0 : (room - CMSG_LEN(0)) / sizeof(int);
  std::vector<int> numbers;
  for (const Held& right : rights) {
    if (numbers.size() >= places) break;
    const int number = add(right.object());
    if (number < 0) break;
    numbers.push_back(number);
  }
  const int flags = numbers.size() < rights.size() ? MSG_CTRUNC : 0;
  if (numbers.empty()) return flags;
  const std::size_t bytes = numbers.size() * sizeof(int);
  auto* control = static_cast<cmsghdr*>(message.msg_control);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(bytes);
  std::memcpy(CMSG_DATA(control), numbers.data(), bytes);
  message.msg_controllen = std::min(CMSG_SPACE(bytes), room);
  return flags;
}

}  // namespace horus::HORUS_ABI::sim::detail
