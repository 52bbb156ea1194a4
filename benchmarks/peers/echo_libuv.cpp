// SPDX-License-Identifier: Apache-2.0
//
// TCP echo on libuv, one thread: uv_try_write first, a queued write for what the socket did not take.
//
//   echo_libuv --port N

#include <csignal>
#include <cstdlib>
#include <cstring>

#include <netinet/in.h>

#include <uv.h>

#include "../common/arguments.hpp"

constexpr std::size_t kBufferSize = 65536;
static char shared_buffer[kBufferSize];

static void check(int result, const char* what) {
  if (result < 0) bench::fail(std::string(what) + ": " + uv_strerror(result));
}

static void drop(uv_stream_t* stream) {
  auto* handle = reinterpret_cast<uv_handle_t*>(stream);
  if (!uv_is_closing(handle))
    uv_close(handle, [](uv_handle_t* closed) { delete reinterpret_cast<uv_tcp_t*>(closed); });
}

static void provide_buffer(uv_handle_t*, std::size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(shared_buffer, kBufferSize);
}

// A queued write owns its bytes.
struct Rest {
  uv_write_t request;
  std::string bytes;
};

static void on_read(uv_stream_t* stream, ssize_t received, const uv_buf_t* buffer) {
  if (received < 0) return drop(stream);
  if (received == 0) return;
  uv_buf_t echo = uv_buf_init(buffer->base, static_cast<unsigned>(received));
  int sent = stream->write_queue_size == 0 ? uv_try_write(stream, &echo, 1) : 0;
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return drop(stream);
  if (sent == received) return;
  auto* rest = new Rest{{}, std::string(buffer->base + sent, static_cast<std::size_t>(received - sent))};
  rest->request.data = rest;
  uv_buf_t queued = uv_buf_init(rest->bytes.data(), static_cast<unsigned>(rest->bytes.size()));
  int result = uv_write(&rest->request, stream, &queued, 1,
                        [](uv_write_t* request, int) { delete static_cast<Rest*>(request->data); });
  if (result < 0) {
    delete rest;
    drop(stream);
  }
}

static void on_connection(uv_stream_t* listener, int status) {
  check(status, "accept");
  auto* connection = new uv_tcp_t;
  check(uv_tcp_init(listener->loop, connection), "uv_tcp_init");
  auto* stream = reinterpret_cast<uv_stream_t*>(connection);
  check(uv_accept(listener, stream), "uv_accept");
  uv_tcp_nodelay(connection, 1);
  check(uv_read_start(stream, provide_buffer, on_read), "uv_read_start");
}

int main(int argc, char** argv) {
  bench::Arguments arguments(argc, argv);
  auto port = static_cast<int>(arguments.count("--port", 0));
  arguments.finish();

  std::signal(SIGPIPE, SIG_IGN);  // libuv writes without MSG_NOSIGNAL
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  sockaddr_in address;
  check(uv_tcp_init(loop, &listener), "uv_tcp_init");
  check(uv_ip4_addr("127.0.0.1", port, &address), "uv_ip4_addr");
  check(uv_tcp_bind(&listener, reinterpret_cast<sockaddr*>(&address), 0), "bind");
  check(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, on_connection), "listen");
  int length = sizeof(address);
  check(uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  std::printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return uv_run(loop, UV_RUN_DEFAULT);
}
