#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse the forms of co_await that GCC 12 compiles wrongly.

GCC 12.2, Debian 12's, drops the bodies of some coroutines that await in a condition, and destroys aggregate and
closure temporaries twice in a full expression with co_await. Horus is built and tested with it and therefore
keeps to forms that it gets right:

  condition    co_await in the parentheses of if, while, switch or in the condition of for
  macro        co_await in the arguments of a macro (CHECK, REQUIRE, ...)
  braces       a braced temporary as an argument, f({1, 2}) or T{.name = x}, beside a co_await
  closure      a lambda with captures by value beside a co_await; for offload(...), any captures
  conditional  co_await (c ? f() : g())

The mend is always a named local: `auto line = co_await f();` and then `if (line)`. A line that is right all the
same says so: // check_coroutines: allow
"""

import argparse
import pathlib
import re
import sys

TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.']*|::|->|&&|\|\||[^\s\w]")
STRIP = re.compile(
    r"""//[^\n]*
      | /\*.*?\*/
      | R"(?P<tag>[^(\s"]*)\(.*?\)(?P=tag)"
      | "(?:\\.|[^"\\\n])*"
      | (?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'
      | ^[ \t]*\#(?:[^\n]*\\\n)*[^\n]*
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
CLOSE = {"(": ")", "[": "]", "{": "}"}
CONTROL = {"if", "while", "switch", "for", "catch"}
BODY_AFTER = {"else", "do", "try", "mutable", "noexcept", "const", "override", "final", ":", ";"}
DEFINES = {"class", "struct", "union", "enum", "namespace", "extern", "concept", "requires"}
MACRO = re.compile(r"[A-Z][A-Z0-9_]{2,}$")
ALLOW = "check_coroutines: allow"


def blank(match):
    """A comment, literal or directive becomes white space, so that positions keep their lines."""
    text = match.group(0)
    if text[0] in "\"'R":
        return '"' + "".join("\n" if c == "\n" else " " for c in text[1:-1]) + '"'
    return "".join("\n" if c == "\n" else " " for c in text)


class Source:
    def __init__(self, text):
        stripped = STRIP.sub(blank, text)
        found = [(m.group(0), m.start()) for m in TOKEN.finditer(stripped)]
        self.tokens = [token for token, _ in found]
        self.lines = []
        line, last = 1, 0
        for _, start in found:
            line += stripped.count("\n", last, start)
            last = start
            self.lines.append(line)
        self.match = {}  # index of a bracket -> index of its partner
        self.parent = []  # index of the innermost open bracket around each token, or -1
        stack = []
        for index, token in enumerate(self.tokens):
            if token in ")]}" and stack and CLOSE[self.tokens[stack[-1]]] == token:
                opening = stack.pop()
                self.match[opening], self.match[index] = index, opening
            self.parent.append(stack[-1] if stack else -1)
            if token in CLOSE:
                stack.append(index)
        self.body = {}
        for index, token in enumerate(self.tokens):
            if token == "{":
                self.body[index] = self.opens_body(index)

    def before(self, index):
        return self.tokens[index - 1] if index > 0 else ";"

    def is_lambda(self, index):
        """Whether the [ at index introduces a lambda rather than a subscript, array or attribute."""
        previous = self.before(index)
        if previous == "[" or self.tokens[index + 1: index + 2] == ["["]:
            return False
        word = re.match(r"\w", previous) and previous not in ("return", "co_return", "co_await", "co_yield")
        return not (word or previous in (")", "]", '"'))

    def opens_body(self, index):
        """Whether the { at index opens statements or members rather than a list of initializers."""
        previous = self.before(index)
        if previous in BODY_AFTER or previous == ")":
            return True
        if previous in ("{", "}"):
            around = self.parent[index]
            return around < 0 or (self.tokens[around] == "{" and self.body.get(around, True))
        if previous == "]":
            opening = self.match.get(index - 1)
            return opening is not None and self.is_lambda(opening)
        if not (re.match(r"\w", previous) or previous == ">"):
            return False
        at, angles = index - 1, 0
        while at >= 0:
            token = self.tokens[at]
            if token == "->" or token in DEFINES:
                return True
            if token == ">":
                angles += 1
            elif token == "<":
                angles -= 1
            elif token in ")]}":
                if token == "}" and angles <= 0:
                    return False
                at = self.match.get(at, at)
            elif angles <= 0 and token in ("(", "[", "{", ";", ",", "=", "?", "return", "co_return", "co_await"):
                return False
            at -= 1
        return False

    def is_body(self, index):
        return index < 0 or (self.tokens[index] == "{" and self.body[index])

    def control_word(self, opening):
        """The keyword whose parentheses open at `opening`, or ''."""
        word, at = self.before(opening), opening - 1
        if word == "constexpr":
            word = self.before(at)
        return word if word in CONTROL else ""

    def full_expression(self, index):
        """Indices of the statement around `index`, leaving out the bodies of lambdas in it."""
        top = index
        while not self.is_body(self.parent[top]):
            around = self.parent[top]
            if self.tokens[around] == "(" and self.control_word(around):
                break
            top = around
        first = top
        while first - 1 > self.parent[top]:
            at = first - 1
            token = self.tokens[at]
            if token in (";", "else", "do"):
                break
            if token in ")]}":
                opening = self.match.get(at)
                if opening is None or (token == "}" and self.body[opening] and not self.lambda_body(opening)):
                    break
                if token == ")" and self.control_word(opening):
                    break
                first = opening
                continue
            first = at
        indices, at = [], first
        while at < len(self.tokens):
            token = self.tokens[at]
            if token == ";" and self.parent[at] == self.parent[top]:
                break
            if token in ")]}" and self.match.get(at, at) < first:
                break
            indices.append(at)
            if token == "{" and self.body[at]:
                at = self.match.get(at, at)
                if at == indices[-1]:
                    break
                continue
            at += 1
        return indices

    def lambda_body(self, opening):
        """Whether the body at `opening` is a lambda's: [..](..) specifiers {"""
        at = opening - 1
        while at >= 0 and self.tokens[at] not in (";", "{", "}"):
            if self.tokens[at] == "]":
                return self.is_lambda(self.match.get(at, at))
            at = self.match[at] - 1 if self.tokens[at] == ")" and at in self.match else at - 1
        return False

    def called(self, opening):
        return self.before(opening) if opening >= 0 and self.tokens[opening] == "(" else ""


def check_await(source, index):
    tokens = source.tokens
    around = source.parent[index]
    while not source.is_body(around):
        if tokens[around] == "(":
            word = source.control_word(around)
            if word in ("if", "while", "switch"):
                yield index, f"condition: co_await in the condition of {word}"
            elif word == "for":
                semicolons = [
                    i
                    for i in range(around, source.match.get(around, around))
                    if tokens[i] == ";" and source.parent[i] == around
                ]
                if len(semicolons) == 2 and semicolons[0] < index < semicolons[1]:
                    yield index, "condition: co_await in the condition of for"
            elif MACRO.match(source.before(around)):
                yield index, f"macro: co_await in the arguments of {source.before(around)}"
        around = source.parent[around]

    following = index + 1
    if following < len(tokens) and tokens[following] == "(":
        inside = range(following + 1, source.match.get(following, following))
        if any(tokens[i] == "?" and source.parent[i] == following for i in inside):
            yield index, "conditional: co_await (c ? f() : g())"

    for at in source.full_expression(index):
        if tokens[at] == "{" and not source.body[at]:
            previous = source.before(at)
            first = tokens[at + 1] if at + 1 < len(tokens) else "}"
            argument = previous in ("(", ",") and source.called(source.parent[at]) != ""
            named = at >= 2 and re.match(r"\w", previous) and re.match(r"[\w>&*]", tokens[at - 2])
            named = named and tokens[at - 2] not in ("return", "co_return", "co_await", "co_yield")
            if (argument and first != "}") or (first == "." and not named):
                yield at, "braces: a braced temporary beside co_await"
        if tokens[at] == "[" and source.is_lambda(at):
            captures = tokens[at + 1: source.match.get(at, at)]
            callee = source.called(source.parent[at])
            if captures and callee == "offload":
                yield at, "closure: offload takes arguments, not captures: offload(function, arguments...)"
            elif captures_by_value(captures):
                yield at, "closure: a lambda with captures by value beside co_await"


def captures_by_value(captures):
    depth, start = 0, True
    for token in captures:
        if start and token != "&" and token != "this":
            return True
        start = False
        if token in CLOSE:
            depth += 1
        elif token in ")]}":
            depth -= 1
        elif token == "," and depth == 0:
            start = True
    return False


def check_text(name, text):
    """Yield one message for each use of a form that GCC 12 gets wrong."""
    source = Source(text)
    written = text.splitlines()
    seen = set()
    for index, token in enumerate(source.tokens):
        if token != "co_await":
            continue
        for at, problem in check_await(source, index):
            line = source.lines[at]
            allowed = any(ALLOW in written[i] for i in (line - 1, line - 2) if 0 <= i < len(written))
            if not allowed and (line, problem) not in seen:
                seen.add((line, problem))
                yield f"{name}:{line}: {problem}"


def check_tree(root):
    for directory in ("horus", "tests", "examples", "benchmarks"):
        for path in sorted((root / directory).rglob("*")):
            if path.suffix in (".cpp", ".hpp") and "peers" not in path.parts:
                yield from check_text(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    problems = list(check_tree(parser.parse_args().root))
    for problem in problems:
        print(problem)
    if problems:
        print("Why, and what to write instead: tools/check_coroutines.py --help")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
