// SPDX-License-Identifier: Apache-2.0
// Exact recording and replay by the environment: HORUS_RECORD_SEAM=FILE and HORUS_REPLAY_SEAM=FILE. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>

namespace horus::HORUS_ABI::io {

/// The backend for a reactor of the calling thread: where the environment asks for it, one that keeps the journal of the
/// process, or answers from it. That is for the main thread; others get an ordinary one. Errors: those of make_backend(); of the file, and of settings that contradict each other.
Result<Backend> make_exact_backend(const ReactorConfig& config);
/// The process is recorded exactly, or replayed. Any thread.
[[nodiscard]] HORUS_API bool is_exact() noexcept;
/// It is replayed. Any thread.
[[nodiscard]] HORUS_API bool is_replay() noexcept;

}  // namespace horus::HORUS_ABI::io
