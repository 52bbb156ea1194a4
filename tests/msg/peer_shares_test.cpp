// SPDX-License-Identifier: Apache-2.0
// How much one peer and all of them may have: horus/msg/session/peer_shares.hpp.
#include <horus/msg/session/peer_shares.hpp>

#include <memory>

#include <doctest/doctest.h>

using horus::msg::PeerShare;
using horus::msg::SharedTotal;

TEST_SUITE("msg/peer_shares") {
  TEST_CASE("one peer has its share and no more") {
    SharedTotal total({10, 100, 2});
    PeerShare one(total);
    CHECK(one.add(10));
    CHECK_FALSE(one.add(1));
    CHECK_FALSE(one.has_room(SIZE_MAX));
    one.remove(4);
    CHECK(one.add(4));
    CHECK(total.used() == 10);
  }

  TEST_CASE("what all have used up leaves each what it is sure of") {
    SharedTotal total({10, 15, 2});
    PeerShare one(total), two(total), three(total);
    CHECK(one.add(10));
    CHECK(two.add(5));
    CHECK_FALSE(two.add(1));
    CHECK(three.add(1));
    CHECK(three.add(1));
    CHECK_FALSE(three.add(1));
    CHECK(total.used() == 17);
  }

  TEST_CASE("what a peer had comes back with its end") {
    SharedTotal total({10, 10, 0});
    auto one = std::make_unique<PeerShare>(total);
    PeerShare two(total);
    CHECK(one->add(10));
    CHECK_FALSE(two.add(1));
    one.reset();
    CHECK(total.used() == 0);
    CHECK(two.add(10));
  }
}
