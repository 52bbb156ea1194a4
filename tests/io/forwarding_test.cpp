// SPDX-License-Identifier: Apache-2.0
// A part that stands in front of another one must forward every call: one that is forgotten would silently ask the
// real kernel instead of a simulated one. So must a simulated world answer every call, for the same reason.
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

namespace {

// How many virtual functions `interface` declares; each of them must be overridden in `answers`.
int check_overridden(const std::string& interface, const std::string& answers) {
  const std::regex declaration(R"(virtual [\w:*&<> ]*?[*&> ](\w+)\()");
  int count = 0;
  for (std::sregex_iterator it(interface.begin(), interface.end(), declaration), end; it != end;
       ++it, ++count) {
    const std::string name = (*it)[1];
    CAPTURE(name);
    CHECK(std::regex_search(answers, std::regex("[ *]" + name + R"(\([^;{]*override)")));
  }
  return count;
}

}  // namespace

TEST_CASE("every virtual function of the three parts is forwarded") {
  const std::string seam = text_of("horus/io/seam/ring.hpp") + text_of("horus/io/seam/clock.hpp") +
                           text_of("horus/io/seam/system.hpp");
  CHECK(check_overridden(seam, text_of("horus/io/seam/forwarding.hpp")) > 30);
}

TEST_CASE("every function of System has its answer in a simulated world") {
  const std::string backends = text_of("horus/sim/kernel/sim_backend.hpp");
  const std::size_t begin = backends.find("class SimSystem");
  REQUIRE(begin != std::string::npos);
  CHECK(check_overridden(text_of("horus/io/seam/system.hpp"), backends.substr(begin)) > 30);
}
