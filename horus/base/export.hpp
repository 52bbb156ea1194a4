// SPDX-License-Identifier: Apache-2.0
//
// HORUS_API marks what the shared library offers; everything else in it is hidden.
#pragma once

#include <horus/base/compiler.hpp>

#define HORUS_API __attribute__((visibility("default")))

namespace horus::detail {

/// What a minor version breaks, the linker and the loader refuse by name: headers of one version and a library of another.
HORUS_API extern const char headers_of_version_0_1;
#ifndef HORUS_BUILDING
[[gnu::used]] inline const char* const headers_and_library_match = &headers_of_version_0_1;
#endif

}  // namespace horus::detail
