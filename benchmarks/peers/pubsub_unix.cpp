// SPDX-License-Identifier: Apache-2.0
//
// Messages through a pair of Unix sockets, or of TCP sockets on the loopback.
//
//   pubsub_unix --transport stream|seqpacket|tcp   …and the options of pubsub_load.hpp
//
// A message is copied into the kernel and out of it, in a call of its own. --mode poll spins on recv and send that do not block.

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../common/pubsub_blocking.hpp"

namespace {

class UnixPeer {
 public:
  explicit UnixPeer(const bench::PubsubOptions& options) : options_(options) {
    if (options.transport == "tcp") {
      connect_over_loopback();
      return;
    }
    const bool stream = options.transport == "stream";
    if (!stream && options.transport != "seqpacket")
      bench::fail("--transport wants stream, seqpacket or tcp, not '" + options.transport + "'");
    if (::socketpair(AF_UNIX, stream ? SOCK_STREAM : SOCK_SEQPACKET, 0, sockets_) != 0)
      bench::fail("socketpair", errno);
  }

  class End {
   public:
    End(UnixPeer& peer, bench::Side side)
        : socket_(peer.sockets_[side == bench::Side::echo ? 1 : 0]),
          flags_(peer.options_.poll ? MSG_DONTWAIT : 0),
          out_(peer.options_.size),
          in_(peer.options_.size) {}

    void send(std::uint64_t number) {
      std::memcpy(out_.data(), &number, sizeof number);
      for (std::size_t done = 0; done < out_.size();)
        done += moved("send", ::send(socket_, out_.data() + done, out_.size() - done, flags_));
    }
    std::uint64_t receive() {
      for (std::size_t done = 0; done < in_.size();)
        done += moved("receive", ::recv(socket_, in_.data() + done, in_.size() - done, flags_));
      std::uint64_t number = 0;
      std::memcpy(&number, in_.data(), sizeof number);
      return number;
    }

   private:
    static std::size_t moved(const char* what, ssize_t bytes) {
      if (bytes > 0) return static_cast<std::size_t>(bytes);
      if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
      bench::fail(what, bytes < 0 ? errno : EPIPE);
    }

    const int socket_;
    const int flags_;
    std::vector<std::byte> out_;
    std::vector<std::byte> in_;
  };

 private:
  void connect_over_loopback() {
    const auto must = [](const char* what, int result) {
      if (result < 0) bench::fail(what, errno);
      return result;
    };
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    const int listener = must("socket", ::socket(AF_INET, SOCK_STREAM, 0));
    must("bind", ::bind(listener, generic, size));
    must("listen", ::listen(listener, 1));
    must("getsockname", ::getsockname(listener, generic, &size));
    sockets_[0] = must("socket", ::socket(AF_INET, SOCK_STREAM, 0));
    must("connect", ::connect(sockets_[0], generic, size));
    sockets_[1] = must("accept", ::accept(listener, nullptr, nullptr));
    ::close(listener);
    for (const int socket : sockets_) {
      const int yes = 1;
      must("TCP_NODELAY", ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes));
    }
  }

  const bench::PubsubOptions options_;
  int sockets_[2] = {-1, -1};
};

}  // namespace

int main(int argc, char** argv) { return bench::run_blocking_pubsub<UnixPeer>(argc, argv, "stream"); }
