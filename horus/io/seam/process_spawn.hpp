// SPDX-License-Identifier: Apache-2.0
// The blocking part of starting a child: from options to a pid. Any thread.
#pragma once

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/base/result.hpp>
#include <horus/io/process_options.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Descriptors that become the child's 0, 1 and 2; -1: as the options' Redirect says. All are above 2, so that no
/// copy overwrites the source of another.
using StandardDescriptors = std::array<int, 3>;

/// Checks what the kernel would misread: no program, zero bytes, names of variables.
Result<> check(const ProcessOptions& options);
/// Starts a child of the real system. Returns when its program runs or could not be run. Error(errno, "spawn", program).
Result<pid_t> spawn_child(const ProcessOptions& options, const StandardDescriptors& descriptors);
/// The child's environment, "NAME=value" each: `inherited` where that is asked for, and the options' variables.
std::vector<std::string> environment_of(const ProcessOptions& options, std::vector<std::string> inherited);
/// Whom ENOENT and EACCES are about; `directory_usable`: the working directory that was asked for can be entered.
std::string blamed(const ProcessOptions& options, bool directory_usable);

/// What the seam answers without a backend: a Process may die when its reactor is gone.
int signal_system_process(int pidfd, int number) noexcept;
int reap_system_process(int pidfd, siginfo_t& info, bool keep) noexcept;
void await_system_process(int pidfd, int limit_ms) noexcept;

}  // namespace horus::HORUS_ABI::io::detail
