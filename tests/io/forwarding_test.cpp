// SPDX-License-Identifier: Apache-2.0
// A part that stands in front of another one must forward every call: one that is forgotten would silently ask the
// real kernel instead of a simulated one.
#include <horus/io/seam/forwarding.hpp>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include <doctest/doctest.h>

namespace {

std::string text_of(const std::string& file) {
  const char* root = std::getenv("HORUS_SOURCE_ROOT");
  std::ifstream in(std::string(root == nullptr ? "." : root) + "/" + file);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("every virtual function of the three parts is forwarded") {
  const std::string seam = text_of("horus/io/seam/ring.hpp") + text_of("horus/io/seam/clock.hpp") +
                           text_of("horus/io/seam/system.hpp");
  const std::string forwarding = text_of("horus/io/seam/forwarding.hpp");
  REQUIRE_FALSE(seam.empty());
  const std::regex declaration(R"(virtual [\w:*&<> ]*?[*&> ](\w+)\()");
  int count = 0;
  for (std::sregex_iterator it(seam.begin(), seam.end(), declaration), end; it != end; ++it, ++count) {
    const std::string name = (*it)[1];
    CAPTURE(name);
    CHECK(std::regex_search(forwarding, std::regex("[ *]" + name + R"(\([^;{]*override)")));
  }
  CHECK(count > 30);
}
