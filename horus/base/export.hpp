// SPDX-License-Identifier: Apache-2.0
//
// HORUS_API marks what the shared library offers; everything else in it is hidden. Included, directly or
// indirectly, by every public header, so the compiler check stands here too.
#pragma once

// GCC 12.2 and older destroy temporaries twice around co_await and drop the bodies of some coroutines.
// Horus' own code avoids those forms and is tested there; a user's code cannot be expected to.
#if defined(__GNUC__) && !defined(__clang__) && !defined(HORUS_ALLOW_OLD_GCC)
#if __GNUC__ < 12 || (__GNUC__ == 12 && __GNUC_MINOR__ < 3)
// clang-format off
#error "Horus needs g++ 12.3 or newer, or clang++ 16 or newer: older g++ destroys temporaries of co_await expressions twice (Debian 12: apt-get install clang-19 and use clang++-19; docs/building.md)"
// clang-format on
#endif
#endif

#define HORUS_API __attribute__((visibility("default")))
