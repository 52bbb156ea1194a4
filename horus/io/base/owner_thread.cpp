// SPDX-License-Identifier: Apache-2.0
#include <horus/io/base/owner_thread.hpp>

#include <cstdlib>
#include <string>

#include <horus/base/assert.hpp>

namespace horus::io::detail {

void used_on_another_thread(const char* what) noexcept {
  const std::string message =
      std::string("a ") + what +
      " was used on a thread that did not make it: it belongs to the reactor of the "
      "thread that made it (Reactor::post "
      "brings the work there; release() and a new object move a stream, a socket or a file)";
  HORUS_ASSERT(false, message.c_str());
  std::abort();
}

}  // namespace horus::io::detail
