// SPDX-License-Identifier: Apache-2.0
// A recording of the real disk, played within a simulated process.
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <horus/bag/read/at_once.hpp>
#include <horus/bag/source.hpp>
#include <horus/base/log.hpp>
#include <horus/msg/session/hub_core.hpp>
#include <horus/record/player.hpp>
#include <horus/sim/world/world_state.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/shield.hpp>

namespace horus::HORUS_ABI::sim {
namespace {

using Main = std::function<Task<int>()>;

// Where somebody subscribes; nowhere yet: the player asks again.
std::vector<Hub> hubs_for(const std::string& topic, const std::string& /*recorded_hub*/) {
  std::vector<Hub> hubs;
  for (auto& core : msg::HubCore::subscribed(topic)) hubs.emplace_back(std::move(core));
  return hubs;
}

Task<Result<Player>> open(std::string path, PlayOptions options) {
  auto source = bag::open_blocking(path);
  if (!source) co_return source.error();
  std::vector<std::unique_ptr<bag::Source>> sources;
  sources.push_back(std::move(*source));
  auto opening = Player::open(std::move(sources), std::move(options));
  co_return co_await opening;
}

Task<> feed(std::string path, PlayOptions options) {
  const bool all = options.topics.empty();
  auto opening = open(std::move(path), std::move(options));
  Player player = (co_await opening).or_throw();
  const PlayStatus before = player.status();
  if (!all && !before.left_out.empty())
    throw Error(ENOTSUP, "play", fmt::format("{}", fmt::join(before.left_out, "; ")));
  for (const std::string& line : before.left_out) log_warning("not played: " + line);
  auto playing = player.run(Player::Hubs(hubs_for));
  (co_await playing).or_throw();
}

Task<> join(Scope& scope) { co_await scope.join(); }

Task<int> play_along(Main main, std::string path, PlayOptions options) {
  Scope scope("recording");
  auto feeding = scope.spawn(feed(std::move(path), std::move(options)));
  std::exception_ptr failure;
  int code = 0;
  try {
    auto working = main();
    code = co_await working;
  } catch (...) {
    failure = std::current_exception();
  }
  scope.cancel();
  auto joining = join(scope);
  co_await shield(std::move(joining));
  if (feeding.state() == TaskState::rejected) feeding.take();  // throws
  if (failure) std::rethrow_exception(failure);
  co_return code;
}

}  // namespace

World& World::play(const std::string& process, const std::string& path, PlayOptions options) {
  static_cast<void>(bag::at_once(open(path, options)).or_throw());  // what is wrong with it is told now
  State::Process& one = state_->find(process);
  one.main = [main = std::move(one.main), path, options = std::move(options)] {
    return play_along(main, path, options);
  };
  return *this;
}

}  // namespace horus::HORUS_ABI::sim
