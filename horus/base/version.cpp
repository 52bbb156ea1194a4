// SPDX-License-Identifier: Apache-2.0
#include <horus/base/version.hpp>

namespace horus {

const char* version() noexcept { return HORUS_VERSION_STRING; }

}  // namespace horus
