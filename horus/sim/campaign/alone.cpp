// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/alone.hpp>

#include <cstdlib>
#include <utility>

#include <horus/sim/kernel/process_backend.hpp>
#include <horus/sim/world/instance.hpp>

namespace horus::HORUS_ABI::sim {
namespace {

using Costs = std::map<std::string, Distribution, std::less<>>;

// A machine's disk outlives its programs: what one reactor wrote, the thread's next one reads. Copies share the files.
detail::FileSystem& disk_of_thread() {
  static thread_local detail::FileSystem disk;
  return disk;
}

thread_local std::size_t left_open = 0;

// Constructed before the ring and destroyed after it.
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

  explicit WorldAlone(std::uint64_t seed) : engine(seed), context(engine, engine.host("10.0.0.1"), costs) {
    context.host().disk = disk_of_thread();
  }
  WorldAlone(const WorldAlone&) = delete;
  WorldAlone& operator=(const WorldAlone&) = delete;
  ~WorldAlone() {
    left_open += context.leaked();
    disk_of_thread() = context.host().disk;
  }
};

class RingAlone final : private WorldAlone, public detail::SimRing {
 public:
  RingAlone(std::uint64_t seed, const io::ReactorConfig& config)
      : WorldAlone(seed), SimRing(WorldAlone::engine, WorldAlone::context, config) {
    kernel().run_alone();
    engine().end_at_violations();
    for (std::size_t i = 0; i < 3; ++i)
      kernel().install(static_cast<int>(i), WorldAlone::context.process().standard[i].object());
  }
  detail::Engine& engine() noexcept { return WorldAlone::engine; }
  detail::Context& context() noexcept { return WorldAlone::context; }
};

}  // namespace

std::size_t descriptors_left_open() noexcept { return left_open; }

Result<io::Backend> make_backend_alone(const io::ReactorConfig& config) {
  if (config.backend != io::BackendChoice::automatic) return io::make_usual_backend(config);
  const char* wish = std::getenv("HORUS_SIM_SEED");
  const std::uint64_t seed = wish == nullptr ? 1 : std::strtoull(wish, nullptr, 10);
  auto alone = std::make_shared<RingAlone>(seed, config);
  detail::Engine& engine = alone->engine();
  if (std::getenv("HORUS_SIM_FAULTS") != nullptr) {
    Random chance = engine.random().derived("faults of a lone world");
    engine.faults() = Faults::unspecified(chance);
    engine.faults().short_transfer = 0;  // which programs of single operations would see
  }
  detail::Context& context = alone->context();
  detail::SimProvider& kernel = alone->kernel();
  return detail::process_backend(detail::sim_backend(std::move(alone), engine, context), engine, context,
                                 kernel, "");
}

}  // namespace horus::HORUS_ABI::sim
