// SPDX-License-Identifier: Apache-2.0
// doctest itself. Apart from the main function, for programs that bring their own and share the tests' precompiled header.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
