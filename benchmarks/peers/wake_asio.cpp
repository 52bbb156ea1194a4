// SPDX-License-Identifier: Apache-2.0
//
// Wake through asio::post to another thread's io_context.
//
//   wake_asio --cpus A,B --count N [--poll]

#include <functional>

#include "../common/wake_load.hpp"
#include "net.hpp"

class AsioParty {
 public:
  explicit AsioParty(const bench::WakeOptions& options) : poll_(options.poll) {}

  void post(std::uint64_t message) {
    net::post(context_, [this, message] {
      if (!stopped_ && !handler_(message)) {
        stopped_ = true;
        context_.stop();
      }
    });
  }

  template <typename Handler>
  void run(Handler&& handler) {
    handler_ = std::ref(handler);
    if (!poll_) context_.run();
    while (!stopped_) context_.poll();
  }

 private:
  net::io_context context_{1};  // one thread runs it; others may still post
  net::executor_work_guard<net::io_context::executor_type> work_ = net::make_work_guard(context_);
  std::function<bool(std::uint64_t)> handler_;
  bool stopped_ = false;
  bool poll_;
};

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  return bench::run_wake<AsioParty>(bench::WakeOptions::from(arguments));
}
