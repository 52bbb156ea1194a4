// SPDX-License-Identifier: Apache-2.0
// An open file travels to another process over a Unix socket: the helper opens what only it may open, and passes the
// descriptor on. (Both ends live in one program here; UnixListener and UnixStream::connect join two.)
#include <array>

#include <horus/horus.hpp>

using namespace horus::io;

horus::Task<> helper(UnixStream socket) {
  auto file = (co_await File::open_read("/proc/uptime")).or_throw();
  (co_await socket.send_descriptor(file.fd())).or_throw();  // a copy: ours is closed at the end
}

horus::Task<> application(UnixStream socket) {
  auto descriptor = (co_await socket.recv_descriptor()).or_throw();
  const File file(std::move(descriptor), "the file from the helper");
  std::array<char, 64> buffer;
  const std::size_t size = (co_await file.read_at(buffer, 0)).or_throw();
  fmt::print("read {} from a file that somebody else opened\n", size > 0 ? "the uptime" : "nothing");
}

horus::Task<> run() {
  auto [one, other] = UnixStream::pair().or_throw();
  co_await horus::when_all(helper(std::move(one)), application(std::move(other)));
}

int main() { horus::io::run(run()); }
