// SPDX-License-Identifier: Apache-2.0
// `horus replay`: runs a program again from its exact recording. Internal.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace horus::cli {

/// Adds the command. When it is given, `action` becomes what to do.
void add_replay(CLI::App& app, std::function<int()>& action);

}  // namespace horus::cli
