// SPDX-License-Identifier: Apache-2.0
//
// Cyclone DDS, reliable and keep-all, over the loopback interface: CYCLONEDDS_URI may say otherwise.
//
//   pubsub_cyclonedds   with the options of pubsub_load.hpp
//
// A message is serialised and sent as UDP datagrams. --mode poll spins on dds_take, yielding the CPU
// to its own threads; sleep waits in a waitset. A process of its own for each side: two threads of one process would share
// the message without the network.

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <vector>

#include <unistd.h>

#include "../common/pubsub_blocking.hpp"
#include "pubsub_message.h"

#include <dds/dds.h>

namespace {

constexpr const char* kConfiguration =
    "<General><Interfaces><NetworkInterface name=\"lo\" multicast=\"false\"/></Interfaces>"
    "<AllowMulticast>false</AllowMulticast><MaxMessageSize>65000B</MaxMessageSize>"
    "<FragmentSize>64000B</FragmentSize></General>"
    "<Discovery><ParticipantIndex>auto</ParticipantIndex>"
    "<Peers><Peer address=\"127.0.0.1\"/></Peers></Discovery>";

dds_entity_t checked(dds_entity_t result, const char* what) {
  if (result < 0) bench::fail(std::string(what) + ": " + dds_strretcode(-result));
  return result;
}

class CyclonePeer {
 public:
  explicit CyclonePeer(const bench::PubsubOptions& options) : options_(options) {
    if (options.transport != "udp") bench::fail("--transport wants udp, not '" + options.transport + "'");
    if (options.peers != "processes") bench::fail("this peer wants --peers processes");
    ::setenv("CYCLONEDDS_URI", kConfiguration, 0);
    domain_ = static_cast<dds_domainid_t>(::getpid() % 100);
  }

  class End {
   public:
    End(CyclonePeer& peer, bench::Side side) : poll_(peer.options_.poll), rest_(peer.options_.size - 8) {
      const bool echo = side == bench::Side::echo;
      participant_ = checked(dds_create_participant(peer.domain_, nullptr, nullptr), "participant");
      dds_qos_t* qos = dds_create_qos();
      dds_qset_reliability(qos, DDS_RELIABILITY_RELIABLE, DDS_SECS(60));
      dds_qset_history(qos, DDS_HISTORY_KEEP_ALL, 0);
      writer_ =
          checked(dds_create_writer(participant_, topic(echo ? "pong" : "ping"), qos, nullptr), "writer");
      reader_ =
          checked(dds_create_reader(participant_, topic(echo ? "ping" : "pong"), qos, nullptr), "reader");
      dds_delete_qos(qos);
      waitset_ = checked(dds_create_waitset(participant_), "waitset");
      checked(dds_set_status_mask(reader_, DDS_DATA_AVAILABLE_STATUS), "status mask");
      checked(dds_waitset_attach(waitset_, reader_, 0), "waitset");
      wait_for_peer();
      message_.rest._buffer = rest_.data();
      message_.rest._length = message_.rest._maximum = static_cast<std::uint32_t>(rest_.size());
    }
    ~End() { dds_delete(participant_); }
    End(const End&) = delete;

    void send(std::uint64_t number) {
      message_.number = number;
      checked(dds_write(writer_, &message_), "write");
    }
    std::uint64_t receive() {
      void* sample = nullptr;
      dds_sample_info_t info;
      while (checked(dds_take(reader_, &sample, &info, 1, 1), "take") == 0 || !info.valid_data) {
        if (sample != nullptr) dds_return_loan(reader_, &sample, 1);
        sample = nullptr;
        if (poll_) ::sched_yield();
        else checked(dds_waitset_wait(waitset_, nullptr, 0, DDS_INFINITY), "wait");
      }
      const std::uint64_t number = static_cast<const PubsubMessage*>(sample)->number;
      checked(dds_return_loan(reader_, &sample, 1), "return a loan");
      return number;
    }

   private:
    dds_entity_t topic(const char* name) {
      return checked(dds_create_topic(participant_, &PubsubMessage_desc, name, nullptr, nullptr), "topic");
    }
    void wait_for_peer() {
      for (int i = 0; i < 10'000; ++i) {
        dds_publication_matched_status_t out;
        dds_subscription_matched_status_t in;
        checked(dds_get_publication_matched_status(writer_, &out), "status");
        checked(dds_get_subscription_matched_status(reader_, &in), "status");
        if (out.current_count == 1 && in.current_count == 1) return;
        ::usleep(1000);
      }
      bench::fail("the two sides did not meet within ten seconds");
    }

    const bool poll_;
    std::vector<std::uint8_t> rest_;
    PubsubMessage message_{};
    dds_entity_t participant_ = 0;
    dds_entity_t writer_ = 0;
    dds_entity_t reader_ = 0;
    dds_entity_t waitset_ = 0;
  };

 private:
  const bench::PubsubOptions options_;
  dds_domainid_t domain_ = 0;
};

}  // namespace

int main(int argc, char** argv) { return bench::run_blocking_pubsub<CyclonePeer>(argc, argv, "udp"); }
