// SPDX-License-Identifier: Apache-2.0
#include <horus/base/assert.hpp>

#include <cstdio>
#include <cstdlib>

namespace horus::detail {

void assertion_failed(const char* condition, const char* message, const char* file, int line) noexcept {
  std::fprintf(stderr, "horus: %s [%s, %s:%d]\n", message, condition, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace horus::detail
