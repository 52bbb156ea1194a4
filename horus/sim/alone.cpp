// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/alone.hpp>

#include <cstdlib>
#include <utility>

#include <horus/sim/instance.hpp>

namespace horus::sim {
namespace {

using Costs = std::map<std::string, Distribution, std::less<>>;

// Constructed before the backend and destroyed after it.
struct WorldAlone {
  struct Lonely final : detail::Context {
    Lonely(detail::Engine& engine, detail::Host& host, const Costs& costs) : Context(engine, 1, host, costs) {
      process_ = &engine.processes().add(host, "alone");
    }
    ~Lonely() { alive_.reset(); }
  };

  detail::Engine engine;
  Costs costs;
  Lonely context;

  explicit WorldAlone(std::uint64_t seed) : engine(seed), context(engine, engine.host("10.0.0.1"), costs) {}
};

class BackendAlone final : private WorldAlone, public detail::SimBackend {
 public:
  BackendAlone(std::uint64_t seed, const io::ReactorConfig& config)
      : WorldAlone(seed), SimBackend(WorldAlone::engine, WorldAlone::context, config) {
    kernel().run_alone();
    for (std::size_t i = 0; i < 3; ++i)
      kernel().install(static_cast<int>(i), WorldAlone::context.process().standard[i].object());
  }
};

}  // namespace

Result<std::unique_ptr<io::Backend>> make_backend_alone(const io::ReactorConfig& config) {
  const char* wish = std::getenv("HORUS_SIM_SEED");
  const std::uint64_t seed = wish == nullptr ? 1 : std::strtoull(wish, nullptr, 10);
  return std::unique_ptr<io::Backend>(std::make_unique<BackendAlone>(seed, config));
}

}  // namespace horus::sim
