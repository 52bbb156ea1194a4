// SPDX-License-Identifier: Apache-2.0
// Control data of messages (cmsg(3)): written piece by piece, and read without believing a length in it. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include <sys/socket.h>

namespace horus::HORUS_ABI::io::detail {

/// Writes one piece after the other into room that it does not own; the kernel's put_cmsg.
class ControlWriter {
 public:
  ControlWriter(void* room, std::size_t size) noexcept : room_(static_cast<char*>(room)), size_(size) {}

  /// False: there is no room for all of it, and nothing was written.
  template <class T>
  bool put(int level, int type, const T& value) noexcept {
    if (size_ - used_ < CMSG_LEN(sizeof value)) return false;
    cmsghdr head{};
    head.cmsg_level = level;
    head.cmsg_type = type;
    head.cmsg_len = CMSG_LEN(sizeof value);
    std::memcpy(room_ + used_, &head, sizeof head);
    std::memcpy(room_ + used_ + CMSG_LEN(0), &value, sizeof value);
    used_ = std::min(used_ + CMSG_SPACE(sizeof value), size_);
    return true;
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  char* room_;
  std::size_t size_;
  std::size_t used_ = 0;
};

/// One piece; `data` is not aligned.
struct ControlPiece {
  int level;
  int type;
  const char* data;
  std::size_t size;

  [[nodiscard]] bool is(int wanted_level, int wanted_type) const noexcept {
    return level == wanted_level && type == wanted_type;
  }
  /// False: it is shorter than a T.
  template <class T>
  bool read(T& value) const noexcept {
    if (size < sizeof value) return false;
    std::memcpy(&value, data, sizeof value);
    return true;
  }
  /// An int, or a byte that stands for one.
  bool read_number(int& value) const noexcept {
    if (read(value)) return true;
    if (size != 1) return false;
    value = static_cast<unsigned char>(*data);
    return true;
  }
};

/// Calls `each(ControlPiece)`, which gives false to stop. False: it was stopped, or a length is not possible.
template <class Each>
bool each_control(const void* control, std::size_t size, Each&& each) {
  const auto* at = static_cast<const char*>(control);
  std::size_t left = size;
  while (left > 0) {
    cmsghdr head;
    if (left < sizeof head) return false;
    std::memcpy(&head, at, sizeof head);
    if (head.cmsg_len < CMSG_LEN(0) || head.cmsg_len > left) return false;
    if (!each(ControlPiece{head.cmsg_level, head.cmsg_type, at + CMSG_LEN(0), head.cmsg_len - CMSG_LEN(0)}))
      return false;
    const std::size_t step = std::min(CMSG_ALIGN(head.cmsg_len), left);
    at += step;
    left -= step;
  }
  return true;
}

}  // namespace horus::HORUS_ABI::io::detail
