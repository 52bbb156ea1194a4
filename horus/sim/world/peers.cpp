// SPDX-License-Identifier: Apache-2.0
// Scripted peers: processes that are not under test.
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/io/time.hpp>
#include <horus/sim/world/world_state.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::sim {
namespace {

Task<> play(const Conversation& conversation, io::TcpStream stream) {
  try {
    auto playing = conversation(std::move(stream));
    co_await playing;
  } catch (const Error&) {
    // Its peer is gone, or the world ends.
  }
}

Task<int> serve(std::string address, const Conversation& conversation) {
  auto listener = io::TcpListener::listen(address).or_throw();
  Scope scope(address);
  while (true) {
    auto accepting = listener.accept();
    auto stream = co_await accepting;
    if (!stream) break;
    static_cast<void>(scope.spawn(play(conversation, *std::move(stream)), address));
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

}  // namespace

Conversation repeat_lines(std::vector<std::string> lines, Duration interval) {
  return [lines = std::move(lines), interval](io::TcpStream stream) -> Task<> {
    return [](std::vector<std::string> what, Duration pause, io::TcpStream to) -> Task<> {
      while (true) {
        for (const std::string& line : what) {
          auto writing = to.write_all(line + "\n");
          auto written = co_await writing;
          if (!written) co_return;
          co_await sleep(pause);
        }
      }
    }(lines, interval, std::move(stream));
  };
}

World& World::tcp_peer(std::string address, Conversation conversation) {
  const auto parsed = io::Address::parse(address);
  if (!parsed || !parsed->is_ip() || parsed->port() == 0 || !conversation) {
    throw std::invalid_argument(fmt::format("\"{}\" is not an address with a port for a peer", address));
  }
  auto playing = std::make_shared<Conversation>(std::move(conversation));
  process(address, [address, playing] { return serve(address, *playing); }, parsed->host());
  state_->processes.back()->peer = true;
  return *this;
}

}  // namespace horus::HORUS_ABI::sim
