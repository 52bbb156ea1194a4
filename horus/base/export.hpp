// SPDX-License-Identifier: Apache-2.0
//
// HORUS_API marks what the shared library offers; everything else in it is hidden.
#pragma once

#include <horus/base/compiler.hpp>

#define HORUS_API __attribute__((visibility("default")))
