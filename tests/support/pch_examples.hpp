// SPDX-License-Identifier: Apache-2.0
// Precompiled for all examples. Each includes what it uses all the same: nothing depends on this file.
#include <horus/horus.hpp>
