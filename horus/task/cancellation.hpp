// SPDX-License-Identifier: Apache-2.0
// Tells a cancelled task's exception from a failure. Any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <exception>

#include <horus/base/error.hpp>

namespace horus::HORUS_ABI::detail {

/// Whether this is an Error with ECANCELED.
inline bool is_cancellation(const std::exception_ptr& failure) noexcept {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.cancelled();
  } catch (...) {
    return false;
  }
}

}  // namespace horus::HORUS_ABI::detail
