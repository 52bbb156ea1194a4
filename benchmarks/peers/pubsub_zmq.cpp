// SPDX-License-Identifier: Apache-2.0
//
// ZeroMQ publish and subscribe, a publisher that waits for room instead of dropping (ZMQ_XPUB_NODROP).
//
//   pubsub_zmq --transport ipc|tcp|inproc   …and the options of pubsub_load.hpp
//
// Messages are written and read in ZeroMQ's own buffers. --mode poll spins on calls that do not block, yielding the
// CPU in between: ZeroMQ's own I/O threads sleep all the same, and run where the side does.

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>
#include <zmq.h>

#include "../common/pubsub_blocking.hpp"

namespace {

[[noreturn]] void fail_zmq(const char* what) {
  bench::fail(std::string(what) + ": " + ::zmq_strerror(::zmq_errno()));
}

class ZmqPeer {
 public:
  explicit ZmqPeer(const bench::PubsubOptions& options) : options_(options) {
    if (options.transport == "inproc") {
      if (options.peers != "threads") bench::fail("--transport inproc wants --peers threads");
      context_ = ::zmq_ctx_new();
    } else if (options.transport != "ipc" && options.transport != "tcp") {
      bench::fail("--transport wants ipc, tcp or inproc, not '" + options.transport + "'");
    }
    if (options.transport == "ipc") {
      if (::mkdtemp(directory_) == nullptr) bench::fail("mkdtemp", errno);
    }
    port_ = 20'000 + ::getpid() % 20'000;
  }
  ~ZmqPeer() {
    if (options_.transport == "ipc") ::rmdir(directory_);
    if (context_ != nullptr) ::zmq_ctx_term(context_);
  }

  class End {
   public:
    End(ZmqPeer& peer, bench::Side side)
        : options_(peer.options_),
          own_context_(peer.context_ == nullptr ? ::zmq_ctx_new() : nullptr),
          out_(socket(peer, ZMQ_XPUB)),
          in_(socket(peer, ZMQ_SUB)) {
      const int mine = side == bench::Side::echo ? 1 : 0;
      const int no_drop = 1;
      if (::zmq_setsockopt(out_, ZMQ_XPUB_NODROP, &no_drop, sizeof no_drop) != 0) fail_zmq("set no-drop");
      if (::zmq_bind(out_, peer.address(mine).c_str()) != 0) fail_zmq("bind");
      if (::zmq_setsockopt(in_, ZMQ_SUBSCRIBE, "", 0) != 0) fail_zmq("subscribe");
      if (::zmq_connect(in_, peer.address(1 - mine).c_str()) != 0) fail_zmq("connect");
      char subscription[8];
      if (::zmq_recv(out_, subscription, sizeof subscription, 0) < 0) fail_zmq("wait for the subscriber");
    }
    ~End() {
      ::zmq_close(in_);
      ::zmq_close(out_);
      if (own_context_ != nullptr) ::zmq_ctx_term(own_context_);
    }
    End(const End&) = delete;

    void send(std::uint64_t number) {
      zmq_msg_t message;
      if (::zmq_msg_init_size(&message, options_.size) != 0) fail_zmq("message");
      std::memcpy(::zmq_msg_data(&message), &number, sizeof number);
      while (::zmq_msg_send(&message, out_, flags()) < 0) {
        if (errno != EAGAIN && errno != EINTR) fail_zmq("send");
        ::sched_yield();
      }
    }
    std::uint64_t receive() {
      zmq_msg_t message;
      ::zmq_msg_init(&message);
      while (::zmq_msg_recv(&message, in_, flags()) < 0) {
        if (errno != EAGAIN && errno != EINTR) fail_zmq("receive");
        ::sched_yield();
      }
      std::uint64_t number = 0;
      std::memcpy(&number, ::zmq_msg_data(&message), sizeof number);
      ::zmq_msg_close(&message);
      return number;
    }

   private:
    int flags() const { return options_.poll ? ZMQ_DONTWAIT : 0; }
    void* socket(ZmqPeer& peer, int type) {
      void* made = ::zmq_socket(own_context_ != nullptr ? own_context_ : peer.context_, type);
      if (made == nullptr) fail_zmq("socket");
      const int queue = static_cast<int>(options_.depth());
      const int linger_ms = 1000;
      const int reconnect_ms = 1;
      ::zmq_setsockopt(made, type == ZMQ_XPUB ? ZMQ_SNDHWM : ZMQ_RCVHWM, &queue, sizeof queue);
      ::zmq_setsockopt(made, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
      ::zmq_setsockopt(made, ZMQ_RECONNECT_IVL, &reconnect_ms, sizeof reconnect_ms);
      return made;
    }

    const bench::PubsubOptions options_;
    void* const own_context_;
    void* const out_;
    void* const in_;
  };

 private:
  std::string address(int side) const {
    const std::string number = std::to_string(side);
    if (options_.transport == "ipc") return "ipc://" + std::string(directory_) + "/" + number;
    if (options_.transport == "tcp") return "tcp://127.0.0.1:" + std::to_string(port_ + side);
    return "inproc://" + number;
  }

  const bench::PubsubOptions options_;
  void* context_ = nullptr;  // of both sides, when they share one
  char directory_[32] = "/tmp/pubsub-zmq-XXXXXX";
  int port_ = 0;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_blocking_pubsub<ZmqPeer>(argc, argv, "ipc"); }
