// SPDX-License-Identifier: Apache-2.0
#include <horus/base/background_thread.hpp>

#include <cerrno>
#include <csignal>
#include <initializer_list>

#include <pthread.h>
#include <sched.h>

namespace horus::HORUS_ABI::detail {
namespace {

constinit cpu_set_t processors_at_start{};

// Before anything can have pinned a thread.
[[gnu::constructor]] void remember_processors() noexcept {
  if (::sched_getaffinity(0, sizeof processors_at_start, &processors_at_start) != 0)
    CPU_ZERO(&processors_at_start);
}

}  // namespace

int start_background_thread(std::size_t stack_bytes, void* (*body)(void*), void* argument) noexcept {
  sigset_t none_of_ours;
  sigset_t before;
  ::sigfillset(&none_of_ours);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
    ::sigdelset(&none_of_ours, fault);
  if (const int refused = ::pthread_sigmask(SIG_SETMASK, &none_of_ours, &before); refused != 0)
    return refused;
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  ::pthread_attr_setstacksize(&attributes, stack_bytes);
  ::pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
  if (CPU_COUNT(&processors_at_start) > 0)
    ::pthread_attr_setaffinity_np(&attributes, sizeof processors_at_start, &processors_at_start);
  pthread_t thread;
  int refused = ::pthread_create(&thread, &attributes, body, argument);
  if (refused == EINVAL || refused == EPERM) {  // the machine has other processors now, for instance
    pthread_attr_t plain;
    ::pthread_attr_init(&plain);
    ::pthread_attr_setdetachstate(&plain, PTHREAD_CREATE_DETACHED);
    refused = ::pthread_create(&thread, &plain, body, argument);
    ::pthread_attr_destroy(&plain);
  }
  ::pthread_attr_destroy(&attributes);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return refused;
}

}  // namespace horus::HORUS_ABI::detail
