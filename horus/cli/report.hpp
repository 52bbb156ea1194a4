// SPDX-License-Identifier: Apache-2.0
// A diagnosis as text for people, and as JSON for programs. Any thread.
#pragma once

#include <cstddef>
#include <string>

#include <horus/cli/check.hpp>

namespace horus::cli {

struct TextStyle {
  bool colour = false;
  std::size_t columns = 100;  ///< lines are broken there; a remedy never is, so that it can be copied
};

std::string to_text(const Diagnosis& diagnosis, const TextStyle& style);
std::string to_json(const Diagnosis& diagnosis);

}  // namespace horus::cli
