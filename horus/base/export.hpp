// SPDX-License-Identifier: Apache-2.0
//
// HORUS_API marks what the shared library offers; everything else in it is hidden.
#pragma once

#include <horus/base/compiler.hpp>

#define HORUS_API __attribute__((visibility("default")))

namespace horus::HORUS_ABI::detail {

/// Headers of one version and a library of another: the linker and the loader do not find
/// horus::v0_1::detail::version_of_these_headers, and say so before anything runs.
HORUS_API extern const char version_of_these_headers;
#ifndef HORUS_BUILDING
[[gnu::used]] inline const char* const headers_and_library_match = &version_of_these_headers;
#endif

}  // namespace horus::HORUS_ABI::detail
