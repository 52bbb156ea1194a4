// SPDX-License-Identifier: Apache-2.0
//
// Command-line arguments of the benchmark programs: `--name value` and `--flag`, nothing else.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "measure.hpp"

namespace bench {

// Ask for every argument by name, then call finish(), which rejects what nobody asked for.
class Arguments {
 public:
  Arguments(int argc, char** argv) : words_(argv + 1, argv + argc), used_(words_.size(), false) {}

  bool flag(const std::string& name) {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (words_[i] == name) return used_[i] = true;
    }
    known_ += " [" + name + "]";
    return false;
  }

  // Given twice, the first one counts: a driver puts what a program insists on before what all programs get.
  std::string text(const std::string& name, const std::string& otherwise) {
    known_ += " [" + name + " " + (otherwise.empty() ? "…" : otherwise) + "]";
    std::string value = otherwise;
    for (std::size_t i = words_.size(); i-- > 1;) {
      if (words_[i - 1] != name) continue;
      used_[i - 1] = used_[i] = true;
      value = words_[i];
    }
    return value;
  }

  double number(const std::string& name, double otherwise) {
    std::string fallback = std::to_string(otherwise);
    std::string word = text(name, fallback);
    char* end = nullptr;
    double value = std::strtod(word.c_str(), &end);
    if (word.empty() || *end != '\0') fail(name + " wants a number, not '" + word + "'");
    return value;
  }

  std::uint64_t count(const std::string& name, std::uint64_t otherwise) {
    std::string word = text(name, std::to_string(otherwise));
    char* end = nullptr;
    std::uint64_t value = std::strtoull(word.c_str(), &end, 10);
    if (word.empty() || *end != '\0' || word[0] == '-')
      fail(name + " wants a whole number, not '" + word + "'");
    return value;
  }

  void finish() const {
    for (std::size_t i = 0; i < words_.size(); ++i) {
      if (!used_[i]) fail("unknown argument '" + words_[i] + "'; known:" + known_);
    }
  }

 private:
  std::vector<std::string> words_;
  std::vector<bool> used_;
  std::string known_;
};

}  // namespace bench
