// SPDX-License-Identifier: Apache-2.0
// `horus node`, `horus tasks`, `horus estop`: what running programs do, and stopping it.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace horus::cli {

/// `action` becomes what was asked for, once the arguments are read; it gives the exit code.
void add_node(CLI::App& app, std::function<int()>& action);

}  // namespace horus::cli
