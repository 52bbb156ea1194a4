// SPDX-License-Identifier: Apache-2.0
//
// Wake through Reactor::post to another thread's reactor.
//
//   wake --cpus A,B --count N [--poll]
//
// --poll gives the reactor a busy-poll window that never ends.

#include <cstdint>

#include <horus/io/reactor.hpp>

#include "common/wake_load.hpp"

namespace {

class ReactorParty {
 public:
  explicit ReactorParty(const bench::WakeOptions& options) : reactor_(config(options)) {}

  void post(std::uint64_t message) {
    const bool posted = reactor_.post([this, message] {
      if (!stopped_ && !call_(handler_, message)) {
        stopped_ = true;
        reactor_.stop();
      }
    });
    if (!posted) bench::fail("the reactor's mailbox is full");
  }

  template <typename Handler>
  void run(Handler&& handler) {
    handler_ = &handler;
    call_ = [](void* self, std::uint64_t message) {
      return (*static_cast<std::remove_reference_t<Handler>*>(self))(message);
    };
    reactor_.run();
  }

 private:
  static horus::io::ReactorConfig config(const bench::WakeOptions& options) {
    horus::io::ReactorConfig config;
    config.mailbox_entries = 2 * bench::kMaxOutstandingPosts;
    if (options.poll) config.busy_poll = std::chrono::hours(24);
    return config;
  }

  horus::io::Reactor reactor_;
  void* handler_ = nullptr;
  bool (*call_)(void*, std::uint64_t) = nullptr;
  bool stopped_ = false;
};

}  // namespace

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  return bench::run_wake<ReactorParty>(bench::WakeOptions::from(arguments));
}
