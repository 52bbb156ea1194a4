// SPDX-License-Identifier: Apache-2.0
// Whether hubs on shared memory meet here: two of them do, and one message goes from one to the other.
#include <chrono>
#include <string>
#include <utility>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/cli/doctor.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

namespace horus::cli {
namespace {

constexpr Duration kPatience = std::chrono::seconds(3);
constexpr Duration kLook = std::chrono::milliseconds(1);

Check failed(std::string sentence, std::string remedy) {
  return {"hubs", Verdict::problem, std::move(sentence), std::move(remedy)};
}

Task<Check> meet() {
  const std::string name = fmt::format("horus-doctor-{}", ::getpid());
  auto first = Hub::shm(name);
  auto second = Hub::shm(name);
  if (!first || !second) {
    co_return failed(fmt::format("{}; Hub::shm cannot work.", (first ? second : first).error().message()),
                     "set HORUS_RUNTIME_DIR to a directory of this user, with a short path");
  }
  auto out = first->advertise<int>("examination");
  auto in = second->subscribe<int>("examination");
  const std::int64_t began_ns = now_ns();
  while (!in.has_msg()) {
    if (out.subscribers() > 0 && out.metrics().published == 0) out.send(1);
    if (now_ns() - began_ns > kPatience.count()) {
      std::string why = "nothing tells why";
      for (const auto& peer : second->connection_state().peers) {
        if (!peer.problem.empty()) why = peer.problem;
      }
      co_return failed(
          fmt::format("Two hubs on shared memory did not meet within {} s ({}).",
                      kPatience / std::chrono::seconds(1), why),
          "look whether a seccomp profile or a sandbox forbids Unix sockets or passing descriptors");
    }
    co_await sleep(kLook);
  }
  co_return Check{"hubs", Verdict::ok,
                  fmt::format("Two hubs on shared memory met, and a message came, after {} ms.",
                              (now_ns() - began_ns) / 1'000'000)};
}

}  // namespace

Check check_hubs() {
  try {
    return io::run(meet());
  } catch (const std::exception& error) {
    return failed(fmt::format("{}; Hub::shm cannot work.", error.what()), "see the lines above");
  }
}

}  // namespace horus::cli
