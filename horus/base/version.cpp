// SPDX-License-Identifier: Apache-2.0
#include <horus/base/version.hpp>

#include <string_view>

namespace horus {

static_assert(std::string_view(HORUS_VERSION_STRING).starts_with("0.1."),
              "a new minor version renames headers_of_version_0_1");
const char detail::headers_of_version_0_1 = 0;

const char* version() noexcept { return HORUS_VERSION_STRING; }

}  // namespace horus
