// SPDX-License-Identifier: Apache-2.0
// Precompiled for the tests of the upper layers, which use most of Horus.
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

#include "captured_log.hpp"
#include "eventually.hpp"
#include "pch_loop.hpp"
