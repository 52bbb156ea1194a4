// SPDX-License-Identifier: Apache-2.0
// The rows of the instruction set: whoever deals with entries believes them.
#include <horus/io/seam/entry.hpp>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include <netinet/in.h>

#include <doctest/doctest.h>

#include <horus/io/seam/provider.hpp>

using namespace horus::io;

namespace {

std::vector<Region> regions_of(const io_uring_sqe& entry) {
  std::vector<Region> regions;
  each_region(entry, [&](const Region& region) { regions.push_back(region); });
  return regions;
}

struct Counted {
  std::size_t payload_written = 0, payload_read = 0, other_written = 0, other_read = 0;  // bytes
};
Counted count(const io_uring_sqe& entry) {
  Counted counted;
  for (const Region& region : regions_of(entry)) {
    (region.is_payload ? region.written ? counted.payload_written : counted.payload_read
     : region.written  ? counted.other_written
                       : counted.other_read) += region.size;
  }
  return counted;
}

template <class Fill>
io_uring_sqe filled(Fill fill_it) {
  io_uring_sqe entry{};
  fill_it(entry);
  return entry;
}

}  // namespace

TEST_CASE("every instruction has one row and one name") {
  std::set<int> opcodes;
  std::set<std::string> names;
  for (const Instruction& one : kInstructions) {
    CAPTURE(one.name);
    CHECK(opcodes.insert(one.opcode).second);
    CHECK(names.insert(one.name).second);
    CHECK(instruction_of(one.opcode) == &one);
    CHECK((one.payload == Payload::none) == (one.direction == Direction::none));
  }
  CHECK(instruction_of(IORING_OP_LAST) == nullptr);
  CHECK(instruction_of(255) == nullptr);
}

TEST_CASE("an entry's memory is told with its direction") {
  char bytes[32] = {};
  iovec parts[] = {{bytes, 3}, {bytes + 8, 5}};
  msghdr message{};
  sockaddr_in peer{};
  char control[16];
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_name = &peer;
  message.msg_namelen = sizeof peer;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  struct ::statx status{};

  SUBCASE("what comes in") {
    CHECK(count(filled([&](auto& e) { fill::read(e, 3, bytes, 7, 0); })).payload_written == 7);
    CHECK(count(filled([&](auto& e) { fill::receive(e, 3, bytes, 9); })).payload_written == 9);
    CHECK(count(filled([&](auto& e) { fill::read_vectors(e, 3, parts, 2, 0); })).payload_written == 8);
    const Counted counted = count(filled([&](auto& e) { fill::receive_message(e, 3, message, 0); }));
    CHECK(counted.payload_written == 8);
    CHECK(counted.other_written == sizeof message + sizeof peer + sizeof control);
    CHECK(counted.payload_read + counted.other_read == 0);
  }
  SUBCASE("what goes out") {
    CHECK(count(filled([&](auto& e) { fill::write(e, 3, bytes, 7, 0); })).payload_read == 7);
    CHECK(count(filled([&](auto& e) { fill::send(e, 3, bytes, 9, 0); })).payload_read == 9);
    CHECK(count(filled([&](auto& e) { fill::write_vectors(e, 3, parts, 2, 0); })).payload_read == 8);
    const Counted counted = count(filled([&](auto& e) { fill::send_message(e, 3, message, 0); }));
    CHECK(counted.payload_read == 8);
    CHECK(counted.payload_written + counted.other_written == 0);
  }
  SUBCASE("names, addresses and answers") {
    CHECK(count(filled([&](auto& e) { fill::open(e, AT_FDCWD, "/a/b", 0, 0); })).other_read == 5);
    CHECK(count(filled([&](auto& e) { fill::rename(e, "/a", "/bc"); })).other_read == 3 + 4);
    const auto* address = reinterpret_cast<const sockaddr*>(&peer);
    CHECK(count(filled([&](auto& e) { fill::connect(e, 3, address, sizeof peer); })).other_read ==
          sizeof peer);
    const Counted counted = count(filled([&](auto& e) { fill::status(e, AT_FDCWD, "/a", 0, 0, status); }));
    CHECK(counted.other_written == sizeof status);
    CHECK(counted.other_read == 3);
  }
  SUBCASE("none") {
    CHECK(regions_of(filled([&](auto& e) { fill::poll(e, 3, POLLIN); })).empty());
    CHECK(regions_of(filled([&](auto& e) { fill::sync(e, 3, false); })).empty());
    CHECK(regions_of(filled([&](auto& e) { fill::receive_chunks(e, 3, 1); })).empty());
    CHECK(regions_of(filled([&](auto& e) { fill::cancel(e, 42); })).empty());
  }
}

TEST_CASE("what a pool thread can do is done by the row's blocking call") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  char bytes[4] = {};
  CHECK(perform_blocking(filled([&](auto& e) { fill::write(e, ends[1], "abc", 3, fill::kOwnPosition); })) ==
        3);
  CHECK(perform_blocking(filled([&](auto& e) { fill::read(e, ends[0], bytes, 4, 0); })) == 3);
  CHECK(std::strcmp(bytes, "abc") == 0);
  CHECK(perform_blocking(filled([&](auto& e) { fill::poll(e, ends[0], POLLIN); })) == -EINVAL);
  for (const int end : ends) CHECK(perform_blocking(filled([&](auto& e) { fill::close(e, end); })) == 0);
  CHECK(perform_blocking(filled([&](auto& e) { fill::unlink(e, AT_FDCWD, "/there/is/none", 0); })) ==
        -ENOENT);
}
