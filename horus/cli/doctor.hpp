// SPDX-License-Identifier: Apache-2.0
// `horus doctor`: looks at what Horus needs of a machine. Takes a tenth of a second, and leaves everything as it was.
#pragma once

#include <string>
#include <vector>

#include <horus/cli/check.hpp>

namespace horus::cli {

/// All of it. The main thread, before anything else was started: it forks.
Diagnosis examine();

/// What a program takes in round Horus, so that an exact recording lacks it: by the names that it imports. Throws
/// std::runtime_error, with the file, for what is no program.
Diagnosis examine_program(const std::string& path);

// The parts, each on its own.
Check check_kernel();
/// io_uring itself, the operations that Horus uses, the backend that it chooses and why (`backend`: its name, empty when
/// there is none), and how late sleeps end on it.
std::vector<Check> check_io(std::string& backend);
/// Clock, timer slack.
std::vector<Check> check_time();
/// Number, isolation, frequency, quota.
std::vector<Check> check_processors();
/// SCHED_FIFO, locked memory, open files, shared memory.
std::vector<Check> check_rights();
/// Two hubs on shared memory meet, and a message goes from one to the other.
Check check_hubs();
Check check_container();

/// The first line of a small file; empty when it cannot be read.
std::string first_line_of(const std::string& path);

}  // namespace horus::cli
