// SPDX-License-Identifier: Apache-2.0
// The parts of a backend that keep a journal, or answer from one. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <memory>

#include <horus/base/result.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/io/seam/backend.hpp>

namespace horus::HORUS_ABI::io::replay {

/// Stands in front of `real`, and writes down what it does.
Result<Backend> recording(Journal& journal, Backend real);
/// Answers from the log. There is no kernel behind it, but for memory and what is written to standard output and error.
Result<Backend> replaying(Journal& journal);

/// Writes down, or answers, what a loop and its work ask the machine.
std::shared_ptr<System> journal_system(Journal& journal, std::shared_ptr<System> real);

}  // namespace horus::HORUS_ABI::io::replay
