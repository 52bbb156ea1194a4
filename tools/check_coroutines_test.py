#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What check_coroutines.py refuses, and what it must leave alone."""

import unittest

from check_coroutines import check_text

REFUSED = {
    "condition": [
        "Task<> f() { if (co_await g()) { h(); } }",
        "Task<> f() { if (auto r = co_await g(); r) h(); }",
        "Task<> f() { if constexpr (true) { while (!co_await g()) {} } }",
        "Task<> f() { switch ((co_await g()).value()) { case 1: break; } }",
        "Task<> f() { for (int i = 0; i < co_await g(); ++i) h(); }",
    ],
    "macro": [
        "Task<> f() { CHECK(co_await g() == 1); }",
        "Task<> f() { REQUIRE_EQ(1, co_await g()); }",
        "auto t = []() -> Task<> { CHECK((co_await g()).ok()); };",
    ],
    "braces": [
        "Task<> f() { co_await g({1, 2, 3}); }",
        "Task<> f() { auto r = co_await g(a, {b, c}); }",
        "Task<> f() { co_await g(Options{.name = text}); }",
        "Task<> f() { co_await g({.name = text}); }",
        "Task<> f() { co_return (co_await g({x})).or_throw(); }",
        "Task<> f() { use({x}, co_await g()); }",
    ],
    "closure": [
        "Task<> f() { co_await offload([s] { return s.size(); }); }",
        "Task<> f() { co_await offload([&] { return 1; }); }",
        "Task<> f() { auto n = co_await g([=] { return 1; }); }",
        "Task<> f() { co_await g([&a, b = std::move(c)] { return 1; }); }",
        "Task<> f() { co_await when_all(g(), [s]() -> Task<> { co_await h(); }()); }",
    ],
    "conditional": [
        "Task<> f() { co_await (c ? g() : h()); }",
        "Task<> f() { auto x = (co_await (c ? g() : h())).value(); }",
    ],
}

ACCEPTED = [
    "Task<> f() { auto r = co_await g(); if (r) { h(); } }",
    "Task<> f() { auto r = co_await g(); CHECK(r == 1); }",
    "Task<> f() { if (x) co_await g(); else co_await h(); }",
    "Task<> f() { while (running) { co_await g(); } }",
    "Task<> f() { if (use({1, 2})) co_await g(); }",
    "Task<> f() { for (auto& x : xs) co_await g(x); }",
    "Task<> f() { Options o{.name = text}; co_await g(o); }",
    "Task<> f() { std::array<int, 2> a{1, 2}; co_await g(a); }",
    "Task<> f() { co_await g({}); }",
    "Task<> f() { co_await g(std::span{data}); }",
    "Task<> f() { co_await g(Seconds{1}); }",
    "Task<> f() { co_await g([&] { return 1; }); }",
    "Task<> f() { co_await g([this] { return 1; }); }",
    "Task<> f() { co_await offload([](int x) { return x; }, 1); }",
    "Task<> f() { auto x = c ? 1 : 2; co_await g(x); }",
    "Task<> f() { co_await g(c ? 1 : 2); }",
    "// if (co_await g())",
    'const char* s = "if (co_await g())";',
    "#define TWICE(x) if (co_await x) {}\n",
    "TEST_CASE(\"a\") { sync_wait([]() -> Task<> { co_await g(); }()); }",
    "TEST_CASE(\"a\") { auto body = [s]() -> Task<int> { co_return co_await g(); }; CHECK(run(body()) == 1); }",
    "TEST_CASE(\"a\") { CHECK(run([]() -> Task<int> { co_return co_await g(); }()) == 1); }",
    "TEST_CASE(\"a\") { run([&]() -> Task<> { auto v = co_await g(); CHECK(v == 1); }); }",
    "Task<> f() { scope.spawn([s]() -> Task<> { co_await g(); }()); co_await h(); }",
    "void f() { auto t = [x] { return x; }; }\nTask<> g() { co_await h(); }",
    "class A { int a_{1}; Task<> f() override { co_await g(); } };",
    "Task<> f() { co_await g({1}); }  // check_coroutines: allow",
    "Task<> f() { switch (x) { case 1: { co_await g(); break; } } }",
    "Task<> f() { std::lock_guard lock{m}; auto r = co_await g(); use({r, 1}); }",
]


class CheckCoroutines(unittest.TestCase):
    def test_refuses_what_gcc_12_gets_wrong(self):
        for kind, snippets in REFUSED.items():
            for snippet in snippets:
                with self.subTest(snippet):
                    problems = list(check_text("x.cpp", snippet))
                    self.assertTrue(problems, "not refused")
                    self.assertIn(f"x.cpp:1: {kind}:", problems[0])

    def test_leaves_the_rest_alone(self):
        for snippet in ACCEPTED:
            with self.subTest(snippet):
                self.assertEqual([], list(check_text("x.cpp", snippet)))

    def test_names_the_line(self):
        text = "/* two\nlines */\nTask<> f() {\n  CHECK(\n    co_await g());\n}\n"
        self.assertEqual(["x.cpp:5: macro: co_await in the arguments of CHECK"], list(check_text("x.cpp", text)))


if __name__ == "__main__":
    unittest.main()
