// SPDX-License-Identifier: Apache-2.0
//
// The publish-subscribe workload of pubsub_load.hpp for peers that block or spin, one queue in each direction and one
// subscriber. A peer is its transport only:
//
//   struct Peer {
//     explicit Peer(const PubsubOptions&);   before the two sides part; may refuse options with fail()
//     class End {
//       End(Peer&, Side);                     on its side; connected when it returns
//       void send(std::uint64_t number);      a message of `size` bytes that begins with the number; waits for room
//       std::uint64_t receive();              the next message's number
//     };
//   };
#pragma once

#include "pubsub_load.hpp"

namespace bench {

enum class Side { measuring, echo };

template <class Peer>
int run_blocking_pubsub(int argc, char** argv, const std::string& transport) {
  Arguments arguments(argc, argv);
  const PubsubOptions options = PubsubOptions::from(arguments, transport);
  if (options.subscribers != 1 || options.peers == "one")
    fail("this peer has one subscriber, on a thread or in a process of its own");
  const std::uint64_t trips = options.count + options.warm_up();
  Peer peer(options);
  PubsubResult result;
  const auto echo = [&] {
    typename Peer::End end(peer, Side::echo);
    for (std::uint64_t i = 0; i < trips; ++i) end.send(end.receive());
    const Slowness slowness(options, "reader");
    for (std::uint64_t i = 0; i < options.stream; ++i) {
      if (end.receive() != i) fail("a message of the stream is missing");
      slowness.spend();
    }
    end.send(0);
    end.receive();  // until the other side has heard it
  };
  const auto measuring = [&] {
    typename Peer::End end(peer, Side::measuring);
    for (std::uint64_t i = 0; i < trips; ++i) {
      const std::uint64_t start = monotonic_ns();
      end.send(i);
      if (end.receive() != i) fail("a ping came back wrong");
      if (i >= options.warm_up()) result.one_way_ns.record((monotonic_ns() - start) / 2);
    }
    const Slowness slowness(options, "writer");
    const std::uint64_t start = monotonic_ns();
    for (std::uint64_t i = 0; i < options.stream; ++i) {
      end.send(i);
      slowness.spend();
    }
    end.receive();
    result.stream_ns = monotonic_ns() - start;
    end.send(0);
  };
  run_two_sides(options, echo, measuring);
  print(options, result);
  return 0;
}

}  // namespace bench
