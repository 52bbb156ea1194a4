// SPDX-License-Identifier: Apache-2.0
// The fixed parts of a timeline's page. Internal; constants.
#pragma once

#include <horus/base/compiler.hpp>

namespace horus::HORUS_ABI::detail {

extern const char kTimelineStyle[];   // CSS
extern const char kTimelineData[];    // JavaScript: from the arrays to lanes that can be searched
extern const char kTimelineDraw[];    // JavaScript: the picture
extern const char kTimelineHandle[];  // JavaScript: pointer, keyboard, tooltip, legend

}  // namespace horus::HORUS_ABI::detail
