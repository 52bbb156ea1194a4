// SPDX-License-Identifier: Apache-2.0
// `horus topic`: what running programs publish.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace horus::cli {

/// `action` becomes what was asked for, once the arguments are read; it gives the exit code.
void add_topic(CLI::App& app, std::function<int()>& action);

}  // namespace horus::cli
