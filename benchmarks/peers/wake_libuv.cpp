// SPDX-License-Identifier: Apache-2.0
//
// Wake through uv_async_send. libuv folds several signals into one callback, so messages travel in a mailbox.
//
//   wake_libuv --cpus A,B --count N [--poll]

#include <uv.h>

#include "wake_mailbox.hpp"

class LibuvParty {
 public:
  explicit LibuvParty(const bench::WakeOptions& options) : poll_(options.poll) {
    uv_loop_init(&loop_);
    uv_async_init(&loop_, &async_,
                  [](uv_async_t* async) { static_cast<LibuvParty*>(async->data)->signalled_ = true; });
    async_.data = this;
  }

  ~LibuvParty() {
    uv_close(reinterpret_cast<uv_handle_t*>(&async_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }

  void post(std::uint64_t message) {
    mailbox_.push(message);
    uv_async_send(&async_);
  }

  template <typename Handler>
  void run(Handler&& handler) {
    for (;;) {
      uv_run(&loop_, poll_ ? UV_RUN_NOWAIT : UV_RUN_ONCE);
      if (signalled_) {
        signalled_ = false;
        if (!mailbox_.drain(handler)) return;
      }
    }
  }

 private:
  uv_loop_t loop_;
  uv_async_t async_;
  bench::Mailbox mailbox_;
  bool signalled_ = false;
  bool poll_;
};

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  return bench::run_wake<LibuvParty>(bench::WakeOptions::from(arguments));
}
