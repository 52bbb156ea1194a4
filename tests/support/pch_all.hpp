// SPDX-License-Identifier: Apache-2.0
// Precompiled for the tests of the upper layers, which use most of Horus.
#include <map>
#include <set>

#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

#include "pch_loop.hpp"
