// SPDX-License-Identifier: Apache-2.0
// Socket options of a simulated socket: what was set is what is told, with Linux's defaults. A plain value; one thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <map>
#include <utility>

#include <sys/socket.h>

namespace horus::HORUS_ABI::sim::detail {

class SocketOptions {
 public:
  /// As setsockopt, for options that are an int or a struct linger; -errno.
  int set(int level, int option, const void* value, socklen_t size);
  /// As getsockopt.
  int get(int level, int option, void* value, socklen_t* size) const;
  /// An int, or its default.
  [[nodiscard]] int value(int level, int option) const;
  /// A close throws away what is unsent and resets the connection (SO_LINGER with no time).
  [[nodiscard]] bool resets_on_close() const { return lingers_ && linger_s_ == 0; }

 private:
  std::map<std::pair<int, int>, int> values_;
  bool lingers_ = false;
  int linger_s_ = 0;
};

}  // namespace horus::HORUS_ABI::sim::detail
