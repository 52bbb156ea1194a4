// SPDX-License-Identifier: Apache-2.0
//
// Refuses compilers and standards that cannot compile Horus, and names the version of the binary interface. Every public
// header includes it, and those with <coroutine> before anything else (.clang-format sees to it): that one has an error
// of its own, about an option that helps nobody.
#pragma once

// What cannot work is refused with one error, and the compiler stops there: hundreds that follow from it would hide it.
// clang can make a message fatal; GCC names the file that it cannot include, and the text stands there.
// clang-format off
#if __cplusplus < 202002L
#define HORUS_UNSUPPORTED "Horus needs C++20: compile with -std=c++20 (docs/building.md)"
#elif defined(__clang__) && __clang_major__ < 16
#define HORUS_UNSUPPORTED "Horus needs clang++ 16 or newer, or g++ 12.3 or newer: older clang cannot compile its coroutines (Debian 12: apt-get install clang-19 and use clang++-19; docs/building.md)"
// GCC 12.2 and older destroy temporaries twice around co_await and drop the bodies of some coroutines.
// Horus' own code avoids those forms and is tested there; a user's code cannot be expected to.
#elif defined(__GNUC__) && !defined(__clang__) && !defined(HORUS_ALLOW_OLD_GCC) && (__GNUC__ < 12 || (__GNUC__ == 12 && __GNUC_MINOR__ < 3))
#define HORUS_UNSUPPORTED "Horus needs g++ 12.3 or newer, or clang++ 16 or newer: older g++ destroys temporaries of co_await expressions twice (Debian 12: apt-get install clang-19 and use clang++-19; docs/building.md)"
#endif

#ifdef HORUS_UNSUPPORTED
#ifdef __clang__
#pragma clang diagnostic fatal "-W#pragma-messages"
#pragma message HORUS_UNSUPPORTED
#else
#include HORUS_UNSUPPORTED
#endif
#endif
// clang-format on

/// The version of the binary interface. The linker sees horus::v0_1::io::Reactor where people write horus::io::Reactor:
/// two versions in one process, each used by a library of its own, do not call each other's functions. The library's
/// own files open `namespace horus::HORUS_ABI`; your program writes `horus::` alone. Before 1.0 a minor version may
/// break, so each has a name of its own.
#define HORUS_ABI inline v0_1
