// SPDX-License-Identifier: Apache-2.0
// What every backend promises at the seam, told in entries and completions. Run once per backend.
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include "backend_seam.hpp"

using seam::address;
using seam::Completion;
using seam::Driver;

namespace {

Driver make_driver(std::uint32_t submissions = 32, std::uint32_t completions = 64) {
  return Driver(
      seam::make_backend(horus::io::ReactorConfig().with_entries(submissions, completions)).or_throw());
}

struct Pair {
  explicit Pair(int type = SOCK_STREAM) { REQUIRE(::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) == 0); }
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;
  ~Pair() {
    close(0);
    close(1);
  }
  int operator[](int end) const { return fds[end]; }
  void close(int end) {
    if (fds[end] >= 0) ::close(fds[end]);
    fds[end] = -1;
  }
  int take(int end) { return std::exchange(fds[end], -1); }
  void write(int end, std::string_view text) const {
    REQUIRE(::write(fds[end], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  int fds[2];
};

struct Pipe {
  Pipe() { REQUIRE(::pipe2(fds, O_CLOEXEC) == 0); }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    for (const int fd : fds) {
      if (fd >= 0) ::close(fd);
    }
  }
  int fds[2];
};

struct Folder {
  Folder() {
    path = "/tmp/horus-backend-XXXXXX";
    REQUIRE(::mkdtemp(path.data()) != nullptr);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY);
    for (const char* name : {"a", "b", "c"}) ::unlinkat(fd, name, 0);
    ::unlinkat(fd, "d", AT_REMOVEDIR);
    ::close(fd);
    ::rmdir(path.c_str());
  }
  std::string path;
};

// A ring of provided buffers.
class Buffers {
 public:
  Buffers(Driver& driver, std::uint32_t entries, std::uint32_t size, std::uint16_t group)
      : driver_(driver), entries_(entries), size_(size), group_(group), bytes_(entries * size) {
    ring_ = static_cast<io_uring_buf_ring*>(
        ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(ring_ != MAP_FAILED);
    REQUIRE(driver.ring().register_buffer_ring(ring_, entries, group) == 0);
  }
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers() {
    driver_.ring().unregister_buffer_ring(group_);
    ::munmap(ring_, 4096);
  }
  void provide(std::uint16_t number) {
    auto* slots = reinterpret_cast<io_uring_buf*>(ring_);
    io_uring_buf& slot = slots[tail_ & (entries_ - 1)];
    slot.addr = address(data(number));
    slot.len = size_;
    slot.bid = number;
    __atomic_store_n(&ring_->tail, ++tail_, __ATOMIC_RELEASE);
  }
  char* data(std::uint16_t number) { return bytes_.data() + number * size_; }
  std::string text(const Completion& completion) {
    return {data(number(completion)), static_cast<std::size_t>(completion.result)};
  }
  static std::uint16_t number(const Completion& completion) {
    return static_cast<std::uint16_t>(completion.flags >> IORING_CQE_BUFFER_SHIFT);
  }

 private:
  Driver& driver_;
  std::uint32_t entries_;
  std::uint32_t size_;
  std::uint16_t group_;
  std::uint16_t tail_ = 0;
  std::vector<char> bytes_;
  io_uring_buf_ring* ring_;
};

void receive(Driver& driver, int fd, void* data, std::uint32_t size, std::uint64_t user_data, int flags = 0) {
  io_uring_sqe& entry = driver.entry(IORING_OP_RECV, fd, user_data);
  entry.addr = address(data);
  entry.len = size;
  entry.msg_flags = static_cast<std::uint32_t>(flags);
}
void send(Driver& driver, int fd, const void* data, std::size_t size, std::uint64_t user_data,
          int flags = 0) {
  io_uring_sqe& entry = driver.entry(IORING_OP_SEND, fd, user_data);
  entry.addr = address(data);
  entry.len = static_cast<std::uint32_t>(size);
  entry.msg_flags = static_cast<std::uint32_t>(flags);
}
void receive_many(Driver& driver, int fd, std::uint16_t group, std::uint64_t user_data) {
  io_uring_sqe& entry = driver.entry(IORING_OP_RECV, fd, user_data);
  entry.ioprio = IORING_RECV_MULTISHOT;
  entry.flags = IOSQE_BUFFER_SELECT;
  entry.buf_group = group;
}
void read(Driver& driver, int fd, void* data, std::uint32_t size, std::int64_t offset,
          std::uint64_t user_data) {
  io_uring_sqe& entry = driver.entry(IORING_OP_READ, fd, user_data);
  entry.addr = address(data);
  entry.len = size;
  entry.off = static_cast<std::uint64_t>(offset);
}
void write(Driver& driver, int fd, std::string_view text, std::int64_t offset, std::uint64_t user_data) {
  io_uring_sqe& entry = driver.entry(IORING_OP_WRITE, fd, user_data);
  entry.addr = address(text.data());
  entry.len = static_cast<std::uint32_t>(text.size());
  entry.off = static_cast<std::uint64_t>(offset);
}
void cancel(Driver& driver, std::uint64_t target, std::uint64_t user_data) {
  io_uring_sqe& entry = driver.entry(IORING_OP_ASYNC_CANCEL, -1, user_data);
  entry.addr = target;
}
void cancel_all_on(Driver& driver, int fd, std::uint64_t user_data) {
  io_uring_sqe& entry = driver.entry(IORING_OP_ASYNC_CANCEL, fd, user_data);
  entry.cancel_flags = IORING_ASYNC_CANCEL_FD | IORING_ASYNC_CANCEL_ALL;
}
void poll(Driver& driver, int fd, std::uint32_t events, std::uint64_t user_data) {
  driver.entry(IORING_OP_POLL_ADD, fd, user_data).poll32_events = events;
}

bool more(const Completion& completion) { return (completion.flags & IORING_CQE_F_MORE) != 0; }
bool has_buffer(const Completion& completion) { return (completion.flags & IORING_CQE_F_BUFFER) != 0; }

}  // namespace

TEST_CASE("a submission ring of one entry carries any number of operations") {
  Driver driver = make_driver(1, 64);
  for (std::uint64_t i = 1; i <= 20; ++i) driver.entry(IORING_OP_NOP, -1, i);
  for (std::uint64_t i = 1; i <= 20; ++i) CHECK(driver.take(i).result == 0);
}

TEST_CASE("completions that find the ring full are kept and come later") {
  Driver driver = make_driver(4, 4);
  for (std::uint64_t i = 1; i <= 20; ++i) driver.entry(IORING_OP_NOP, -1, i);
  driver.flush();
  CHECK((*driver.rings().sq_flags & IORING_SQ_CQ_OVERFLOW) != 0);
  for (std::uint64_t i = 1; i <= 20; ++i) CHECK(driver.take(i).result == 0);
  driver.flush();
  CHECK((*driver.rings().sq_flags & IORING_SQ_CQ_OVERFLOW) == 0);
}

TEST_CASE("what is not in the instruction set ends with EINVAL") {
  Driver driver = make_driver();
  driver.entry(255, -1, 1);
  CHECK(driver.take(1).result == -EINVAL);
}

TEST_CASE("a receive that waits gets the bytes that come, a short receive is no error") {
  Driver driver = make_driver();
  Pair pair;
  char data[16] = {};
  receive(driver, pair[0], data, sizeof data, 1);
  CHECK_FALSE(driver.completes_now(1));
  pair.write(1, "hello");
  CHECK(driver.take(1).result == 5);
  CHECK(std::string(data) == "hello");
}

TEST_CASE("bytes that arrive between two receives are not lost, however short the first was") {
  Driver driver = make_driver();
  Pair pair;
  char data[16] = {};
  for (int round = 0; round < 5; ++round) {
    pair.write(1, "ab");
    receive(driver, pair[0], data, sizeof data, 1);
    CHECK(driver.take(1).result == 2);
  }
  pair.write(1, "abcdef");
  for (int round = 0; round < 3; ++round) {
    receive(driver, pair[0], data, 2, 1);
    CHECK(driver.take(1).result == 2);
  }
  receive(driver, pair[0], data, 2, 1);
  CHECK_FALSE(driver.completes_now(1));
  pair.close(1);
  CHECK(driver.take(1).result == 0);
}

TEST_CASE("MSG_DONTWAIT gives EAGAIN at once, and data when there is some") {
  Driver driver = make_driver();
  Pair pair;
  char data[16];
  receive(driver, pair[0], data, sizeof data, 1, MSG_DONTWAIT);
  CHECK(driver.take(1).result == -EAGAIN);
  pair.write(1, "x");
  receive(driver, pair[0], data, sizeof data, 2, MSG_DONTWAIT);
  CHECK(driver.take(2).result == 1);
  receive(driver, pair[0], data, sizeof data, 3, MSG_DONTWAIT);
  CHECK(driver.take(3).result == -EAGAIN);
}

TEST_CASE("a receive with MSG_WAITALL ends when it is full, or with what came before the end") {
  Driver driver = make_driver();
  Pair pair;
  char data[6] = {};
  receive(driver, pair[0], data, 6, 1, MSG_WAITALL);
  pair.write(1, "abc");
  CHECK_FALSE(driver.completes_now(1));
  pair.write(1, "defg");
  CHECK(driver.take(1).result == 6);
  CHECK(std::string_view(data, 6) == "abcdef");
  receive(driver, pair[0], data, 6, 2, MSG_WAITALL);
  CHECK_FALSE(driver.completes_now(2));
  pair.close(1);
  CHECK(driver.take(2).result == 1);
}

TEST_CASE("a send with MSG_WAITALL goes on until every byte is taken") {
  Driver driver = make_driver();
  Pair pair;
  const std::string text(1 << 20, 'x');
  send(driver, pair[0], text.data(), text.size(), 1, MSG_WAITALL);
  std::size_t got = 0;
  std::vector<char> data(65536);
  while (got < text.size()) {
    receive(driver, pair[1], data.data(), static_cast<std::uint32_t>(data.size()), 2);
    const Completion part = driver.take(2);
    REQUIRE(part.result > 0);
    got += static_cast<std::size_t>(part.result);
  }
  CHECK(driver.take(1).result == static_cast<std::int32_t>(text.size()));
}

TEST_CASE("a cancelled MSG_WAITALL send tells how much was taken") {
  Driver driver = make_driver();
  Pair pair;
  const std::string text(4 << 20, 'x');
  send(driver, pair[0], text.data(), text.size(), 1, MSG_WAITALL);
  CHECK_FALSE(driver.completes_now(1));
  cancel(driver, 1, 2);
  const Completion sent = driver.take(1);
  CHECK(sent.result > 0);
  CHECK(sent.result < static_cast<std::int32_t>(text.size()));
  CHECK(driver.take(2).result == 0);
  std::size_t got = 0;
  std::vector<char> data(65536);
  for (ssize_t part; (part = ::recv(pair[1], data.data(), data.size(), MSG_DONTWAIT)) > 0;) {
    got += static_cast<std::size_t>(part);
  }
  CHECK(got == static_cast<std::size_t>(sent.result));
}

TEST_CASE("a send that skips its success completes only when it was short or failed") {
  Driver driver = make_driver();
  Pair pair;
  send(driver, pair[0], "hi", 2, 1, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
  driver.rings().sqes[0].flags = IOSQE_CQE_SKIP_SUCCESS;
  CHECK_FALSE(driver.completes_now(1));
  const std::string text(4 << 20, 'x');
  send(driver, pair[0], text.data(), text.size(), 2, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
  driver.rings().sqes[1].flags = IOSQE_CQE_SKIP_SUCCESS;
  const Completion part = driver.take(2);
  CHECK(part.result > 0);
  CHECK(part.result < static_cast<std::int32_t>(text.size()));
  pair.close(1);
  send(driver, pair[0], "hi", 2, 3, MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL);
  driver.rings().sqes[2].flags = IOSQE_CQE_SKIP_SUCCESS;
  CHECK(driver.take(3).result == -EPIPE);
}

TEST_CASE("a send to a closed peer is EPIPE, not a signal") {
  Driver driver = make_driver();
  Pair pair;
  pair.close(1);
  send(driver, pair[0], "x", 1, 1);
  CHECK(driver.take(1).result == -EPIPE);
}

TEST_CASE("a cancel ends what waits with ECANCELED and is ENOENT when there is nothing") {
  Driver driver = make_driver();
  Pair pair;
  char data[4];
  receive(driver, pair[0], data, sizeof data, 1);
  driver.flush();
  cancel(driver, 1, 2);
  CHECK(driver.take(1).result == -ECANCELED);
  CHECK(driver.take(2).result == 0);
  cancel(driver, 1, 3);
  CHECK(driver.take(3).result == -ENOENT);
}

TEST_CASE("a cancel against data: the bytes are delivered or stay in the socket, never lost") {
  Driver driver = make_driver();
  for (int round = 0; round < 50; ++round) {
    Pair pair;
    char data[8] = {};
    receive(driver, pair[0], data, sizeof data, 1);
    if (round % 2 == 0) driver.flush();
    pair.write(1, "data");
    if (round % 3 == 0) driver.flush();
    cancel(driver, 1, 2);
    const Completion end = driver.take(1);
    static_cast<void>(driver.take(2));
    if (end.result == -ECANCELED) {
      CHECK(::recv(pair[0], data, sizeof data, MSG_DONTWAIT) == 4);
    } else {
      CHECK(end.result == 4);
    }
    CHECK(std::string_view(data, 4) == "data");
  }
}

TEST_CASE("cancel by descriptor takes all on it and counts them") {
  Driver driver = make_driver();
  Pair one;
  Pair two;
  char data[3][4];
  receive(driver, one[0], data[0], 4, 1);
  poll(driver, one[0], POLLIN, 2);
  receive(driver, two[0], data[2], 4, 3);
  driver.flush();
  cancel_all_on(driver, one[0], 4);
  CHECK(driver.take(4).result == 2);
  CHECK(driver.take(1).result == -ECANCELED);
  CHECK(driver.take(2).result == -ECANCELED);
  CHECK_FALSE(driver.completes_now(3));
  cancel_all_on(driver, one[0], 5);
  CHECK(driver.take(5).result == 0);
  io_uring_sqe& any = driver.entry(IORING_OP_ASYNC_CANCEL, -1, 6);
  any.cancel_flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
  CHECK(driver.take(6).result == 1);
  CHECK(driver.take(3).result == -ECANCELED);
}

TEST_CASE("cancel everything on a descriptor, then close it: the number means something else afterwards") {
  Driver driver = make_driver();
  Pair pair;
  char data[8] = {};
  receive(driver, pair[0], data, sizeof data, 1);
  driver.flush();
  cancel_all_on(driver, pair[0], 2);
  CHECK(driver.take(2).result == 1);
  CHECK(driver.take(1).result == -ECANCELED);
  const int number = pair.take(0);
  driver.entry(IORING_OP_CLOSE, number, 3);
  CHECK(driver.take(3).result == 0);
  CHECK(::fcntl(number, F_GETFD) == -1);
  Pair fresh;  // takes the number again
  REQUIRE(fresh[0] == number);
  receive(driver, fresh[0], data, sizeof data, 4);
  CHECK_FALSE(driver.completes_now(4));
  fresh.write(1, "new");
  CHECK(driver.take(4).result == 3);
  driver.entry(IORING_OP_CLOSE, fresh.take(1), 5);
  CHECK(driver.take(5).result == 0);
  receive(driver, fresh[0], data, sizeof data, 6);
  CHECK(driver.take(6).result == 0);
}

TEST_CASE("a number is clean after a close, also when a copy of the descriptor lives on") {
  Driver driver = make_driver();
  Pair pair;
  char data[8] = {};
  pair.write(1, "x");
  receive(driver, pair[0], data, sizeof data, 1);
  CHECK(driver.take(1).result == 1);
  receive(driver, pair[0], data, sizeof data, 2);  // leaves a registration behind
  driver.flush();
  cancel(driver, 2, 3);
  CHECK(driver.take(2).result == -ECANCELED);
  const int copy = ::dup(pair[0]);
  const int number = pair.take(0);
  driver.entry(IORING_OP_CLOSE, number, 4);
  CHECK(driver.take(4).result == 0);
  Pair fresh;
  REQUIRE(fresh[0] == number);
  pair.write(1, "for the copy");
  receive(driver, fresh[0], data, sizeof data, 5);
  CHECK_FALSE(driver.completes_now(5));
  fresh.write(1, "ok");
  CHECK(driver.take(5).result == 2);
  ::close(copy);
}

TEST_CASE("closing what is not open is EBADF") {
  Driver driver = make_driver();
  driver.entry(IORING_OP_CLOSE, 1'000'000'000, 1);
  CHECK(driver.take(1).result == -EBADF);
  char data[4];
  receive(driver, 1'000'000'000, data, sizeof data, 2);
  CHECK(driver.take(2).result == -EBADF);
}

TEST_CASE("multishot receive: buffers in order, the end of the stream carries none") {
  Driver driver = make_driver();
  Buffers buffers(driver, 4, 64, 7);
  for (std::uint16_t i = 0; i < 4; ++i) buffers.provide(i);
  Pair pair;
  receive_many(driver, pair[0], 7, 1);
  driver.flush();
  for (const char* text : {"one", "two", "three"}) {
    pair.write(1, text);
    const Completion part = driver.take(1);
    REQUIRE(part.result == static_cast<std::int32_t>(std::strlen(text)));
    CHECK(more(part));
    CHECK(has_buffer(part));
    CHECK(buffers.text(part) == text);
    buffers.provide(Buffers::number(part));
  }
  pair.close(1);
  const Completion end = driver.take(1);
  CHECK(end.result == 0);
  CHECK_FALSE(more(end));
  CHECK_FALSE(has_buffer(end));
}

TEST_CASE("multishot receive without a buffer ends with ENOBUFS at issue, before any data") {
  Driver driver = make_driver();
  Buffers buffers(driver, 4, 64, 7);
  Pair pair;
  receive_many(driver, pair[0], 7, 1);
  const Completion none = driver.take(1);
  CHECK(none.result == -ENOBUFS);
  CHECK_FALSE(more(none));
}

TEST_CASE("a multishot receive that used exactly its last buffer stays armed until more comes") {
  Driver driver = make_driver();
  Buffers buffers(driver, 2, 4, 7);
  buffers.provide(0);
  Pair pair;
  receive_many(driver, pair[0], 7, 1);
  driver.flush();
  pair.write(1, "abc");
  Completion part = driver.take(1);
  CHECK(part.result == 3);
  CHECK(more(part));
  CHECK_FALSE(driver.completes_now(1));
  buffers.provide(0);
  pair.write(1, "de");
  part = driver.take(1);
  CHECK(part.result == 2);
  CHECK(more(part));
  pair.write(1, "fg");
  part = driver.take(1);
  CHECK(part.result == -ENOBUFS);
  CHECK_FALSE(more(part));
  buffers.provide(0);
  receive_many(driver, pair[0], 7, 2);
  part = driver.take(2);
  CHECK(part.result == 2);
  CHECK(buffers.text(part) == "fg");
}

TEST_CASE("a cancelled multishot receive says so once") {
  Driver driver = make_driver();
  Buffers buffers(driver, 2, 16, 7);
  buffers.provide(0);
  Pair pair;
  receive_many(driver, pair[0], 7, 1);
  driver.flush();
  cancel(driver, 1, 2);
  const Completion end = driver.take(1);
  CHECK(end.result == -ECANCELED);
  CHECK_FALSE(more(end));
  CHECK(driver.take(2).result == 0);
}

TEST_CASE("a multishot that finds the completion ring full ends, and nothing is lost") {
  Driver driver = make_driver(4, 4);
  Buffers buffers(driver, 16, 1, 7);
  for (std::uint16_t i = 0; i < 16; ++i) buffers.provide(i);
  Pair pair;
  receive_many(driver, pair[0], 7, 1);
  driver.flush();
  pair.write(1, "abcdefghijkl");
  std::string text;
  for (int guard = 0; guard < 100 && text.size() < 12; ++guard) {
    const Completion part = driver.take(1);
    REQUIRE(part.result == 1);
    text += buffers.text(part);
    if (!more(part)) receive_many(driver, pair[0], 7, 1);
  }
  CHECK(text == "abcdefghijkl");
}

TEST_CASE("multishot accept gives a socket per connection until it is cancelled") {
  Driver driver = make_driver();
  horus::io::System& system = driver.system();
  const int listener = system.socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(system.bind(listener, reinterpret_cast<sockaddr*>(&local), sizeof local) == 0);
  REQUIRE(system.listen(listener, 16) == 0);
  socklen_t size = sizeof local;
  REQUIRE(system.local_address(listener, reinterpret_cast<sockaddr*>(&local), &size) == 0);
  io_uring_sqe& accept = driver.entry(IORING_OP_ACCEPT, listener, 1);
  accept.ioprio = IORING_ACCEPT_MULTISHOT;
  accept.accept_flags = SOCK_CLOEXEC;
  driver.flush();
  for (std::uint64_t i = 0; i < 3; ++i) {
    const int client = system.socket(AF_INET, SOCK_STREAM, 0);
    io_uring_sqe& connect = driver.entry(IORING_OP_CONNECT, client, 10 + i);
    connect.addr = address(&local);
    connect.off = sizeof local;
    CHECK(driver.take(10 + i).result == 0);
    CHECK((::fcntl(client, F_GETFL) & O_NONBLOCK) == 0);
    const Completion accepted = driver.take(1);
    REQUIRE(accepted.result >= 0);
    CHECK(more(accepted));
    CHECK((::fcntl(accepted.result, F_GETFL) & O_NONBLOCK) == 0);
    send(driver, client, "ping", 4, 20);
    char data[8];
    receive(driver, accepted.result, data, sizeof data, 21);
    CHECK(driver.take(20).result == 4);
    CHECK(driver.take(21).result == 4);
    driver.entry(IORING_OP_CLOSE, client, 22);
    driver.entry(IORING_OP_CLOSE, accepted.result, 23);
    CHECK(driver.take(22).result == 0);
    CHECK(driver.take(23).result == 0);
  }
  cancel_all_on(driver, listener, 2);
  const Completion end = driver.take(1);
  CHECK(end.result == -ECANCELED);
  CHECK_FALSE(more(end));
  ::close(listener);
}

TEST_CASE("a connect that nobody answers is refused, and its socket stays blocking") {
  Driver driver = make_driver();
  horus::io::System& system = driver.system();
  const int probe = system.socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(system.bind(probe, reinterpret_cast<sockaddr*>(&local), sizeof local) == 0);
  socklen_t size = sizeof local;
  REQUIRE(system.local_address(probe, reinterpret_cast<sockaddr*>(&local), &size) == 0);
  const int client =
      system.socket(AF_INET, SOCK_STREAM, 0);  // bound, not listening: nobody else can take the port
  io_uring_sqe& connect = driver.entry(IORING_OP_CONNECT, client, 1);
  connect.addr = address(&local);
  connect.off = sizeof local;
  CHECK(driver.take(1).result == -ECONNREFUSED);
  CHECK((::fcntl(client, F_GETFL) & O_NONBLOCK) == 0);
  ::close(client);
  ::close(probe);
}

TEST_CASE("a connect to a Unix listener whose backlog is full waits for room") {
  Driver driver = make_driver();
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  REQUIRE(::bind(listener, reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t)) ==
          0);  // abstract, autobound
  socklen_t size = sizeof name;
  REQUIRE(::getsockname(listener, reinterpret_cast<sockaddr*>(&name), &size) == 0);
  REQUIRE(::listen(listener, 0) == 0);
  std::array<int, 3> clients{};
  for (std::size_t i = 0; i < clients.size(); ++i) {
    clients[i] = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    io_uring_sqe& connect = driver.entry(IORING_OP_CONNECT, clients[i], 1 + i);
    connect.addr = address(&name);
    connect.off = size;
  }
  driver.flush();
  for (std::size_t i = 0; i < clients.size(); ++i) {
    driver.entry(IORING_OP_ACCEPT, listener, 10).accept_flags = SOCK_CLOEXEC;
    const int accepted = driver.take(10).result;
    REQUIRE(accepted >= 0);
    ::close(accepted);
  }
  for (std::size_t i = 0; i < clients.size(); ++i) {
    CHECK(driver.take(1 + i).result == 0);
    ::close(clients[i]);
  }
  ::close(listener);
}

TEST_CASE("a poll tells the events once; a hang-up comes unasked") {
  Driver driver = make_driver();
  Pipe pipe;
  poll(driver, pipe.fds[0], POLLIN, 1);
  CHECK_FALSE(driver.completes_now(1));
  REQUIRE(::write(pipe.fds[1], "x", 1) == 1);
  CHECK(driver.take(1).result == POLLIN);
  poll(driver, pipe.fds[1], POLLOUT, 2);
  CHECK(driver.take(2).result == POLLOUT);
  char byte;
  REQUIRE(::read(pipe.fds[0], &byte, 1) == 1);
  poll(driver, pipe.fds[0], POLLIN, 3);
  driver.flush();
  ::close(std::exchange(pipe.fds[1], -1));
  CHECK(driver.take(3).result == POLLHUP);
}

TEST_CASE("pipes: a read waits, a write is taken as far as there is room, descriptors stay blocking") {
  Driver driver = make_driver();
  Pipe pipe;
  char data[8] = {};
  read(driver, pipe.fds[0], data, sizeof data, -1, 1);
  CHECK_FALSE(driver.completes_now(1));
  write(driver, pipe.fds[1], "hello", -1, 2);
  CHECK(driver.take(2).result == 5);
  CHECK(driver.take(1).result == 5);
  const std::string large(1 << 20, 'x');
  write(driver, pipe.fds[1], large, -1, 3);
  const Completion part = driver.take(3);
  CHECK(part.result > 0);
  CHECK(part.result < (1 << 20));
  CHECK((::fcntl(pipe.fds[0], F_GETFL) & O_NONBLOCK) == 0);
  CHECK((::fcntl(pipe.fds[1], F_GETFL) & O_NONBLOCK) == 0);
  write(driver, pipe.fds[1], "more", -1, 4);
  CHECK_FALSE(driver.completes_now(4));
  cancel(driver, 4, 5);
  CHECK(driver.take(4).result == -ECANCELED);
}

TEST_CASE("an eventfd that blocks is read when it is signalled") {
  Driver driver = make_driver();
  const int fd = driver.system().event_fd(0, 0);
  std::uint64_t count = 0;
  for (std::uint64_t round = 1; round <= 3; ++round) {
    read(driver, fd, &count, sizeof count, 0, round);
    CHECK_FALSE(driver.completes_now(round));
    const std::uint64_t add = round;
    REQUIRE(::write(fd, &add, sizeof add) == sizeof add);
    CHECK(driver.take(round).result == 8);
    CHECK(count == round);
  }
  ::close(fd);
}

TEST_CASE("files: open, write, read, stat, sync, rename, link, unlink and their failures") {
  Driver driver = make_driver();
  Folder folder;
  const std::string a = folder.path + "/a";
  const std::string b = folder.path + "/b";
  const std::string c = folder.path + "/c";
  const std::string d = folder.path + "/d";
  io_uring_sqe* entry = &driver.entry(IORING_OP_OPENAT, AT_FDCWD, 1);
  entry->addr = address(a.c_str());
  entry->open_flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  entry->len = 0600;
  const int fd = driver.take(1).result;
  REQUIRE(fd >= 0);
  write(driver, fd, "hello world", 0, 2);
  CHECK(driver.take(2).result == 11);
  char data[32] = {};
  read(driver, fd, data, sizeof data, 6, 3);
  CHECK(driver.take(3).result == 5);
  CHECK(std::string(data) == "world");
  read(driver, fd, data, sizeof data, 100, 4);
  CHECK(driver.take(4).result == 0);
  iovec parts[2] = {{data, 3}, {data + 8, 8}};
  entry = &driver.entry(IORING_OP_READV, fd, 5);
  entry->addr = address(parts);
  entry->len = 2;
  CHECK(driver.take(5).result == 11);
  CHECK(std::string_view(data + 8, 8) == "lo world");
  entry = &driver.entry(IORING_OP_FALLOCATE, fd, 6);
  entry->off = 0;
  entry->addr = 4096;
  const std::int32_t allocated = driver.take(6).result;
  CHECK((allocated == 0 || allocated == -EOPNOTSUPP));
  entry = &driver.entry(IORING_OP_FSYNC, fd, 7);
  entry->fsync_flags = IORING_FSYNC_DATASYNC;
  CHECK(driver.take(7).result == 0);
  struct statx about{};
  entry = &driver.entry(IORING_OP_STATX, AT_FDCWD, 8);
  entry->addr = address(a.c_str());
  entry->len = STATX_SIZE;
  entry->off = address(&about);
  CHECK(driver.take(8).result == 0);
  CHECK(about.stx_size >= 11);
  entry = &driver.entry(IORING_OP_RENAMEAT, AT_FDCWD, 9);
  entry->addr = address(a.c_str());
  entry->len = static_cast<std::uint32_t>(AT_FDCWD);
  entry->addr2 = address(b.c_str());
  CHECK(driver.take(9).result == 0);
  entry = &driver.entry(IORING_OP_LINKAT, AT_FDCWD, 10);
  entry->addr = address(b.c_str());
  entry->len = static_cast<std::uint32_t>(AT_FDCWD);
  entry->addr2 = address(a.c_str());
  CHECK(driver.take(10).result == 0);
  entry = &driver.entry(IORING_OP_SYMLINKAT, AT_FDCWD, 11);
  entry->addr = address("b");
  entry->addr2 = address(c.c_str());
  CHECK(driver.take(11).result == 0);
  entry = &driver.entry(IORING_OP_MKDIRAT, AT_FDCWD, 12);
  entry->addr = address(d.c_str());
  entry->len = 0700;
  CHECK(driver.take(12).result == 0);
  entry = &driver.entry(IORING_OP_UNLINKAT, AT_FDCWD, 13);
  entry->addr = address(b.c_str());
  CHECK(driver.take(13).result == 0);
  entry = &driver.entry(IORING_OP_OPENAT, AT_FDCWD, 14);
  entry->addr = address(b.c_str());
  entry->open_flags = O_RDONLY;
  CHECK(driver.take(14).result == -ENOENT);
  read(driver, fd, nullptr, 8, 0, 15);
  CHECK(driver.take(15).result == -EFAULT);
  driver.entry(IORING_OP_CLOSE, fd, 16);
  CHECK(driver.take(16).result == 0);
  CHECK(::fcntl(fd, F_GETFD) == -1);
}

TEST_CASE("fixed buffers: within a registered one, or EFAULT") {
  Driver driver = make_driver();
  Folder folder;
  const int fd = ::open((folder.path + "/a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  std::vector<char> memory(8192, 'm');
  const iovec whole{memory.data(), memory.size()};
  REQUIRE(driver.ring().register_buffers(&whole, 1) == 0);
  io_uring_sqe* entry = &driver.entry(IORING_OP_WRITE_FIXED, fd, 1);
  entry->addr = address(memory.data() + 4096);
  entry->len = 4096;
  CHECK(driver.take(1).result == 4096);
  entry = &driver.entry(IORING_OP_READ_FIXED, fd, 2);
  entry->addr = address(memory.data());
  entry->len = 4096;
  CHECK(driver.take(2).result == 4096);
  entry = &driver.entry(IORING_OP_READ_FIXED, fd, 3);
  entry->addr = address(memory.data() + 4097);
  entry->len = 4096;
  CHECK(driver.take(3).result == -EFAULT);
  CHECK(driver.ring().unregister_buffers() == 0);
  ::close(fd);
}

TEST_CASE("many file operations at once all come back") {
  Driver driver = make_driver(64, 256);
  Folder folder;
  const int fd = ::open((folder.path + "/a").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const std::string text(4096, 't');
  for (std::uint64_t i = 0; i < 100; ++i)
    write(driver, fd, text, static_cast<std::int64_t>(i * 4096), 1000 + i);
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(driver.take(1000 + i).result == 4096);
  for (std::uint64_t i = 0; i < 100; ++i) driver.entry(IORING_OP_FSYNC, fd, 2000 + i);
  for (std::uint64_t i = 0; i < 100; ++i) CHECK(driver.take(2000 + i).result == 0);
  ::close(fd);
}

TEST_CASE("waiting ends at its deadline, not before and not much later") {
  Driver driver = make_driver();
  Pair pair;
  char data[4];
  receive(driver, pair[0], data, sizeof data, 1);
  driver.flush();
  const std::int64_t before = horus::monotonic_ns();
  const std::int64_t deadline = before + 3'000'000;
  while (horus::monotonic_ns() < deadline) driver.ring().enter(0, 1, deadline);
  CHECK(driver.reap() == 0);
  cancel(driver, 1, 2);
  CHECK(driver.take(1).result == -ECANCELED);
}

TEST_CASE("the pollable descriptor is readable when an enter would produce something, and not otherwise") {
  Driver driver = make_driver(8, 8);
  Pair pair;
  const int fd = driver.ring().pollable_fd();
  REQUIRE(fd >= 0);
  const auto readable = [&](int timeout_ms) {
    pollfd asked{fd, POLLIN, 0};
    return ::poll(&asked, 1, timeout_ms) == 1;
  };
  const auto settle = [&] {
    for (int i = 0; i < 3; ++i) {
      driver.ring().clear_pollable();
      driver.flush();
      driver.reap();
    }
  };
  char data[8];
  receive(driver, pair[0], data, sizeof data, 1);
  settle();
  CHECK_FALSE(readable(0));
  pair.write(1, "x");
  CHECK(readable(10'000));
  CHECK(driver.take(1).result == 1);
  settle();
  CHECK_FALSE(readable(0));
  Folder folder;
  const std::string path = folder.path + "/a";
  io_uring_sqe& open = driver.entry(IORING_OP_OPENAT, AT_FDCWD, 2);
  open.addr = address(path.c_str());
  open.open_flags = O_RDWR | O_CREAT | O_CLOEXEC;
  open.len = 0600;
  driver.ring().clear_pollable();
  driver.flush();
  if (driver.reap() == 0) CHECK(readable(10'000));
  const int file = driver.take(2).result;
  CHECK(file >= 0);
  ::close(file);
}
