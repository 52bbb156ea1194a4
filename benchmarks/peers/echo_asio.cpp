// SPDX-License-Identifier: Apache-2.0
//
// TCP echo on Asio, one coroutine per connection, one thread. Built twice: on epoll and on io_uring.
//
//   echo_asio_epoll --port N
//   echo_asio_uring --port N

#include <array>
#include <cstdio>

#include "../common/arguments.hpp"
#include "net.hpp"

using net::ip::tcp;

constexpr std::size_t kBufferSize = 16384;

static net::awaitable<void> serve(tcp::socket socket) {
  std::array<char, kBufferSize> buffer;
  socket.set_option(tcp::no_delay(true));
  try {
    for (;;) {
      std::size_t received = co_await socket.async_read_some(net::buffer(buffer), net::use_awaitable);
      co_await net::async_write(socket, net::buffer(buffer.data(), received), net::use_awaitable);
    }
  } catch (const std::exception&) {
    // The peer closed the connection.
  }
}

static net::awaitable<void> listen(tcp::acceptor& acceptor) {
  auto executor = co_await net::this_coro::executor;
  for (;;) {
    tcp::socket socket = co_await acceptor.async_accept(net::use_awaitable);
    net::co_spawn(executor, serve(std::move(socket)), net::detached);
  }
}

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  auto port = static_cast<unsigned short>(arguments.count("--port", 0));
  arguments.finish();

  net::io_context context(1);
  tcp::acceptor acceptor(context, {net::ip::address_v4::loopback(), port});
  acceptor.listen(4096);
  std::printf("listening on 127.0.0.1:%d\n", acceptor.local_endpoint().port());
  std::fflush(stdout);
  net::co_spawn(context, listen(acceptor), net::detached);
  context.run();
}
