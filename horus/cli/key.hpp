// SPDX-License-Identifier: Apache-2.0
// `horus key`: keys and certificates for encrypted links.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace horus::cli {

/// Adds the command. When it was given, parsing sets `action`, which does it and gives the exit code.
void add_key(CLI::App& app, std::function<int()>& action);

}  // namespace horus::cli
