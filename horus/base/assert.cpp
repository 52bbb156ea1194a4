// SPDX-License-Identifier: Apache-2.0
#include <horus/base/assert.hpp>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::detail {

void assertion_failed(const char* condition, const char* message, const char* file, int line) noexcept {
  char text[1024];
  std::snprintf(text, sizeof text, "%s [%s, %s:%d]", message, condition, file, line);
  last_words(text);
  std::abort();
}

}  // namespace horus::HORUS_ABI::detail
