# SPDX-License-Identifier: Apache-2.0
"""Horus in gdb: `source tools/gdb/horus_gdb.py`, for a running program or a core file.

    horus tasks      what every task of every loop waits for, with the line of each await
    horus ready      the coroutines that may run now, in their order
    print task       Task, Result, Error and Chain show what they hold

Nothing is called in the program: memory is read, and that is all. The program needs debug information (-g), which with
clang includes types that it only uses (-fstandalone-debug; g++: -femit-class-debug-always).
"""

import functools
import re

import gdb

MOST = 10000  # elements of a list: memory that was overwritten may be a circle


@functools.lru_cache(maxsize=8)
def namespace_in(program, objects):
    """horus::v0_1:: in that program with so many shared objects: gdb asks for names as the linker has them."""
    # A function: gdb lists no variable of a library without debug information.
    listed = gdb.execute("info functions -q ::io::detail::unlist_reactor", to_string=True)
    found = re.search(r"\b(horus::(?:v\d+_\d+::)?)io::detail::unlist_reactor", listed)
    return found[1] if found else "horus::"


def versioned(name):
    space = gdb.current_progspace()
    return namespace_in(space.filename, len(space.objfiles())) + name.removeprefix("horus::")


def type_of(name):
    """By the name that people know; other types than those of Horus are as they are."""
    return gdb.lookup_type(re.sub(r"\bhorus::\w+", lambda found: versioned(found[0]), name))


def pointer(name):
    return type_of(name).pointer()


def without_version(name):
    """horus::Task for horus::v0_1::Task: the version of the binary interface (HORUS_ABI) is for the linker."""
    return re.sub(r"\bhorus::v\d+_\d+::", "horus::", name)


def text_of(value):
    """A std::string, a std::string_view or a C string, without the printers of libstdc++."""
    kind = value.type.strip_typedefs()
    if kind.code == gdb.TYPE_CODE_PTR:
        return value.string(errors="replace") if int(value) else ""
    fields = {field.name for field in kind.fields()}
    if "_M_dataplus" in fields:
        return value["_M_dataplus"]["_M_p"].string(errors="replace", length=int(value["_M_string_length"]))
    if "_M_str" in fields:
        return value["_M_str"].string(errors="replace", length=int(value["_M_len"]))
    return str(value)


def has_field(value, name):
    try:
        value[name]
    except (gdb.error, KeyError):
        return False
    return True


def short(path):
    return "/".join(path.split("/")[-2:])


def without_frame(function):
    """g++ names the part of a coroutine that resumes it: `void f(f(int)::_Z1fi.Frame*)`. The middle is the function."""
    end = function.rfind("::_Z")
    if end < 0 or "Frame*)" not in function[end:].replace("Frame *)", "Frame*)"):
        return function
    depth = 0  # back to the bracket in which the frame is the parameter
    for begin in range(end - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(function[begin], 0)
        if depth < 0:
            return function[begin + 1:end]
    return function


def place_of(promise):
    """`function (file:line)` of the await that a coroutine is suspended at; None before the first one."""
    where = promise["where"]["_M_impl"]
    if not int(where):
        return None
    try:
        function, file, line = where["_M_function_name"].string(), where["_M_file_name"].string(), int(where["_M_line"])
    except (gdb.error, UnicodeDecodeError):
        return None  # not set yet
    return f"{without_version(without_frame(function))} ({short(file)}:{line})"


def function_of(handle):
    """The coroutine whose frame a handle leads to: the frame begins with the address of the function that resumes it."""
    frame = int(handle["_M_fr_ptr"])
    if not frame:
        return "nothing"
    resume = int(gdb.Value(frame).cast(pointer("unsigned long")).dereference())
    if not resume:
        return "a coroutine that has ended"
    symbol = gdb.execute(f"info symbol {resume}", to_string=True).split(" in section ")[0].strip()
    for end in (".resume", "[clone .actor]", "[clone .resume]", "(.resume)", "(.actor)"):
        symbol = symbol.removesuffix(end).strip()
    symbol = without_version(without_frame(symbol))
    return symbol if symbol and "No symbol" not in symbol else f"code at {resume:#x}"


def is_operation(waiter):
    cancel = int(waiter["kind"]["cancel"])
    symbol = without_version(gdb.execute(f"info symbol {cancel}", to_string=True))
    return symbol.startswith("horus::io::Operation::cancel")


def chain_name(chain):
    try:
        whole = chain.cast(chain.dynamic_type)
    except gdb.error:
        whole = chain
    for field in ("name_", "node_name_"):
        if has_field(whole, field):
            return text_of(whole[field])
    kind = str(whole.type.strip_typedefs())
    return "branch" if "Branch" in kind else kind.split("<")[0].split("::")[-1]


def chain_state(chain):
    leaf = chain["leaf_"]
    state = " (asked to stop)" if bool(chain["stop_requested_"]) else ""
    if not int(leaf):
        return f"{chain_name(chain)}{state}: running or ready to run"
    waits = leaf["kind"]["name"].string()
    if is_operation(leaf):
        try:
            descriptor = int(leaf.cast(pointer("horus::io::Operation")).dereference()["fd"])
            waits += f" (fd {descriptor})" if descriptor >= 0 else ""
        except gdb.error:
            pass  # a program that does not use I/O does not know the type
    return f"{chain_name(chain)}{state}: waits for {waits}"


def chain_lines(chain):
    yield chain_state(chain)
    leaf = chain["leaf_"]
    if not int(leaf):
        return
    promise, seen = leaf["promise"], 0
    while int(promise) and seen < MOST:
        yield f"  at {place_of(promise) or 'its beginning'}"
        promise, seen = promise["parent"], seen + 1


def following(element):
    seen = 0
    while int(element) and seen < MOST:
        yield element
        element, seen = element["next_ready"], seen + 1


class ThreadState:
    """horus::detail::thread_state of the selected thread: the ready list and the list of chains.

    By their places, as its type is known only where the library itself has debug information.
    """

    def __init__(self):
        words = gdb.parse_and_eval(f"&'{versioned('horus::detail::thread_state')}'").cast(pointer("unsigned long"))
        self.ready, self.roots = int(words[0]), int(words[2])

    def chains(self):
        """An IntrusiveList<Chain, RootTag> is one hook."""
        root = gdb.Value(self.roots).cast(pointer("horus::ListHook<horus::RootTag>"))
        hook, seen = root["next"], 0
        while int(hook) and int(hook) != self.roots and seen < MOST:
            yield hook.cast(pointer("horus::Chain")).dereference()
            hook, seen = hook["next"], seen + 1

    def ready_elements(self):
        """A ReadyList begins with its first element."""
        if self.ready:
            yield from following(gdb.Value(self.ready).cast(pointer("horus::Ready").pointer()).dereference())


def loops():
    """(title, ThreadState) of each thread that runs coroutines."""
    selected = gdb.selected_thread()
    try:
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda one: one.num):
            thread.switch()
            try:
                state = ThreadState()
            except gdb.error as error:
                if "No symbol" in str(error):
                    raise gdb.GdbError("no debug information of Horus: build the program with -g (docs/debugging.md)")
                continue
            if state.roots:
                yield f"--- thread {thread.ptid[1] or thread.num} \"{thread.name}\"", state
    finally:
        if selected is not None and selected.is_valid():
            selected.switch()


class Horus(gdb.Command):
    """Tasks of Horus: `horus tasks`, `horus ready`."""

    def __init__(self):
        super().__init__("horus", gdb.COMMAND_DATA, prefix=True)


class Tasks(gdb.Command):
    """What every task of every loop waits for, with the line of each await."""

    def __init__(self):
        super().__init__("horus tasks", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        found = False
        for title, state in loops():
            found = True
            print(title)
            for chain in state.chains():
                for line in chain_lines(chain):
                    print(line)
        if not found:
            print("no thread runs coroutines")


class ReadyCommand(gdb.Command):
    """The coroutines that may run now, in their order."""

    def __init__(self):
        super().__init__("horus ready", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        found = False
        for title, state in loops():
            found = True
            print(title)
            for number, element in enumerate(state.ready_elements(), 1):
                print(f"{number}: {ready_line(element)}")
        if not found:
            print("no thread runs coroutines")


def ready_line(element):
    function = function_of(element["handle"])
    promise = element["promise"]
    if not int(promise):
        return function
    chain, place = promise["chain"], place_of(promise)
    name = f"{chain_name(chain.dereference())}: " if int(chain) else ""
    return name + (f"goes on at {place}" if place else f"begins {function}")


class TaskPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        handle = self.value["coroutine_"]
        if not int(handle["_M_fr_ptr"]):
            return "Task: empty"
        resume = int(gdb.Value(int(handle["_M_fr_ptr"])).cast(pointer("unsigned long")).dereference())
        return "Task: ended" if not resume else f"Task: {function_of(handle)}"


class ErrorPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        if not has_field(self.value, "code_"):
            return "Error (of a type without debug information)"
        return f"Error {int(self.value['code_'])} of {self.value['operation_'].string() or 'an operation'}"


class ResultPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        if not bool(self.value["ok_"]):
            return "Result: " + ErrorPrinter(self.value["error_"]).to_string()
        return f"Result: {self.value['value_']}" if has_field(self.value, "value_") else "Result: success"


class ChainPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        return "\n".join(chain_lines(self.value))


class ReadyListPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        count = sum(1 for _ in following(self.value["head_"]))
        return f"ReadyList of {count}"


def is_chain(kind, depth=0):
    if kind.name and without_version(kind.name) == "horus::Chain":
        return True
    if depth > 4 or kind.code != gdb.TYPE_CODE_STRUCT:
        return False
    return any(is_chain(field.type.strip_typedefs(), depth + 1) for field in kind.fields() if field.is_base_class)


def printer_of(value):
    if value.type.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
        value = value.referenced_value()
    kind = value.type.strip_typedefs().unqualified()
    if kind.code != gdb.TYPE_CODE_STRUCT or not kind.name or not kind.name.startswith("horus::"):
        return None
    name = without_version(kind.name).split("<")[0]
    known = {
        "horus::Task": TaskPrinter,
        "horus::Result": ResultPrinter,
        "horus::Error": ErrorPrinter,
        "horus::ReadyList": ReadyListPrinter,
    }
    if name in known:
        return known[name](value)
    return ChainPrinter(value.cast(type_of("horus::Chain"))) if is_chain(kind) else None


gdb.pretty_printers[:] = [one for one in gdb.pretty_printers if getattr(one, "__name__", "") != "printer_of"]
gdb.pretty_printers.append(printer_of)
Horus()
Tasks()
ReadyCommand()
