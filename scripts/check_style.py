#!/usr/bin/env python3
"""Checks the code against the rules of docs/ARCHITECTURE.md, and prints each violation. Run by scripts/check_style.sh.

usage: check_style.py [ROOT]
"""
import collections
import os
import re
import subprocess
import sys

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), ".."))
PRODUCT = ("src/", "port/", "agent/", "board/", "cli/", "gateway/")
ROOT_FILES = {
    ".clang-format", ".gitignore", "CHANGELOG.md", "CMakeLists.txt", "CONTRIBUTING.md", "Kconfig", "LICENSE", "README.md", "SECURITY.md",
    "idf_component.yml", "keywords.txt", "library.json", "library.properties", "remote_attestation.py",
}
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 90

# The modules that each module of the device library may include, besides itself. A module that is not listed here may
# include all.
CORE = {"core"}
ALLOWED = {
    "core": set(),
    "http": CORE,
    "port": CORE | {"http"},
    "proxy": CORE | {"port", "http"},
    "isolation": CORE | {"port", "http"},
    "ota": CORE | {"port", "http"},
    "attest": CORE | {"port", "http"},
    "identity": CORE | {"port", "http"},
}
# These modules compute only from their arguments: no I/O, no clock, no lock, no allocation. The update service (ota/service*, ota/upload*) is not one of them.
PURE = re.compile(r"src/cmxsafe/(isolation|attest|ota)/(?!service|upload)")
IMPURE = re.compile(r'#include (<(unistd|fcntl|pthread|poll|netdb|time|sys/(socket|stat|mman|select|time))\.h>'
                    r'|"cmxsafe/core/mem\.h"|"cmxsafe/port/port\.h")|\b(f?printf|puts|fopen|fread|fwrite)\(')
# The contract with a platform: callers depend on these headers, not on the files that implement them.
CONTRACT = re.compile(r"src/cmxsafe/(port/[a-z]+\.h|http/http\.h)$")
# These files define names of libc, lwIP and FreeRTOS.
OTHERS_NAMES = re.compile(r"port/linux/libc/|board/idf/freertos\.c|board/lwip/(sockets|netifs)\.c|gateway/bpf/")
# Public headers: applications and tests call their functions; the product does not have to.
PUBLIC_HEADER = re.compile(r"src/[^/]+\.h$|src/cmxsafe/esp/device_esp\.h$")
# Features with one implementation each: name, a pattern in the code without comments, and the only files that may
# match.
ONE_PLACE = (
    ("the parser of command lines", r"\bgetopt", r"$^"),
    ("the HTTP client", r"\bcurl_easy_", r"cli/common/http_client\.c"),
    ("the INI reader", r"#include <ini\.h>", r"port/linux/ini_file\.c"),
    ("the notification of systemd", r"sd_notify|getenv\(\"NOTIFY_SOCKET", r"port/linux/notify\.c"),
    ("the list of labels", r'"@?cmxsafe [a-z0-9 -]+ \d+"', r"src/cmxsafe/core/label\.[ch]"),
    # gw_status.c joins the JSON answers of several gateways as text, because no JSON parser is linked. The pattern
    # leaves out code that reads JSON.
    ("the JSON writer", r'^(?!.*(str(str|len|cmp)\(|answer_is\(|_array\(|#define|CLI_\w+\()).*"(\\.|[^"\\])*\\"\w+\\":', r"cli/gateway/gw_status\.c"),
)
# Each state has one setter, which logs; a constructor may set the first state. `out` and `v` are copies for status.
STATE = re.compile(r"\b(?!out\b|v\b)\w+->(state|phase|to_gateway|to_local) = ")
STATE_FOLDERS = re.compile(r"src/cmxsafe/proxy/|agent/isolation/")
STATE_SETTERS = re.compile(r"(set_(state|phase|half)|enter_state|_new|_open)$")
OURS = ("cmx_", "gw_", "agent_", "board_", "cmd_")
# Files of other projects that comments name as their source.
FOREIGN_FILES = {"auth.c", "bootloader_utility.c", "capability.h", "esp_app_desc.h", "esp_app_format.h", "esp_flash_partitions.h",
                 "esp_ota_ops.c", "kex.c", "nchan.c", "options.c", "serverloop.c", "sshd.c"}
# Functions that only tests call.
TEST_HOOKS = {"cmx_mem_fail_at", "cmx_mem_reset_peak", "cmx_device_isolation_end"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tracked():
    out = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    return [p for p in out if os.path.isfile(os.path.join(ROOT, p))]


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def blank(text):
    """Returns the code without comments and string contents; lines keep their numbers. #include lines keep their path."""
    def keep(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + token[0]
        return "\n" * token.count("\n") or " "
    includes = {i: line for i, line in enumerate(text.split("\n")) if line.startswith("#include")}
    lines = TOKENS.sub(keep, text).split("\n")
    for i, line in includes.items():
        lines[i] = line
    return lines


class Function:
    def __init__(self, name, declaration, first, last):
        self.name, self.first, self.last = name, first, last
        self.static = bool(re.search(r"\bstatic\b", declaration))
        first_parameter = re.search(re.escape(name) + r"\s*\(([^,)]*)", declaration).group(1)
        self.first_types = set(re.findall(r"\b(?:cmx|agent|board)_\w+|\bgw_\w+", first_parameter))


class Source:
    """A file of the product: its lines without comments, and its functions (clang-format puts their braces at column 0)."""

    def __init__(self, path):
        self.path = path
        self.text = read(path)
        self.lines = blank(self.text)
        self.functions = []
        head, start = [], None
        for number, line in enumerate(self.lines, 1):
            if start is None and line.rstrip() == "{":
                start = number
            elif line.startswith("}"):
                if start is not None:
                    declaration = re.sub(r"\((\w+)\)\(", r" \1(", " ".join(head))  # void(name)(...): a function whose name is also a macro
                    name = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)", "", declaration))
                    if name:
                        self.functions.append(Function(name.group(1), declaration, start, number))
                head, start = [], None
            elif start is None:
                if line.startswith("#") or not line.strip() or line.rstrip().endswith(";"):
                    head = []
                else:
                    head.append(line.strip())
        self.includes = re.findall(r'^#include "([^"]+)"', "\n".join(self.lines), re.M)
        self.system_includes = re.findall(r"^#include <([^>]+)>", "\n".join(self.lines), re.M)

    @property
    def module(self):
        """Returns the folder, without src/cmxsafe/: core, proxy, port/esp, agent/config, ..."""
        folder = os.path.dirname(self.path)
        return folder[len("src/cmxsafe/"):] if folder.startswith("src/cmxsafe/") else folder

    @property
    def unit(self):
        """Returns the path without its ending, because a header and its source are one unit."""
        return os.path.splitext(self.path)[0]

    def types(self):
        """Returns the names of the types that a header declares; for a callback's type, the name without _fn."""
        text = "\n".join(self.lines)
        found = re.findall(r"^(?:typedef )?(?:struct|enum|union) (\w+)\s*\{", text, re.M)
        found += re.findall(r"^\}\s*(\w+);|^typedef enum \{.*\} (\w+);|^typedef [^\n]*\(\*(\w+)\)", text, re.M)
        return {re.sub("_fn$", "", n) for f in found for n in ([f] if isinstance(f, str) else f) if n}

    def identifiers(self):
        return set(re.findall(r"\b[A-Za-z_]\w+\b", "\n".join(l for l in self.lines if not l.startswith("#include"))))


def cycles(graph):
    """Returns the strongly connected components with more than one node (Tarjan's algorithm, without recursion)."""
    index, low, on, stack, found = {}, {}, set(), [], []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph[root])))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on.add(root)
        while work:
            node, edges = work[-1]
            for target in edges:
                if target not in graph:
                    continue
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on.add(target)
                    work.append((target, iter(sorted(graph[target]))))
                    break
                if target in on:
                    low[node] = min(low[node], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component = []
                    while True:
                        component.append(stack.pop())
                        on.discard(component[-1])
                        if component[-1] == node:
                            break
                    if len(component) > 1:
                        found.append(sorted(component))
    return found


class Style:
    def __init__(self):
        self.bad = []
        self.files = tracked()
        self.sources = [Source(p) for p in self.files if p.startswith(PRODUCT) and re.search(r"\.(c|h|cpp)$", p)]
        self.by_path = {s.path: s for s in self.sources}
        self.defined = collections.defaultdict(set)  # name of an exported function -> the sources that define it
        for s in self.sources:
            for f in s.functions:
                if not f.static and s.path.endswith(".c") and f.name != "main":
                    self.defined[f.name].add(s)

    def complain(self, rule, text):
        self.bad.append(f"{rule}: {text}")

    def lines_match(self, rule, pattern, text, where=lambda s: True):
        expression = re.compile(pattern)
        for s in self.sources:
            if where(s):
                for number, line in enumerate(s.lines, 1):
                    if expression.search(line):
                        self.complain(rule, f"{s.path}:{number}: {text}: {line.strip()}")

    def resolve(self, source, include):
        """Returns the product file that an #include names, or None."""
        for base in ("src", "", os.path.dirname(source.path), "board/idf"):
            path = os.path.normpath(os.path.join(base, include))
            if path in self.by_path:
                return self.by_path[path]
        return None

    # ---- the rules ----

    def rule_calls(self):
        self.lines_match("unbounded-call", r"\b(strcpy|strcat|sprintf|vsprintf|gets|atoi|atol|strtok|alloca)\(",
                         "unbounded or unchecked call")
        self.lines_match("allocation", r"(^|[^_a-zA-Z0-9.>])(malloc|calloc|realloc|strdup|strndup|asprintf)\(",
                         "allocation outside core/mem.c",
                         lambda s: s.path != "src/cmxsafe/core/mem.c" and not s.path.startswith("port/linux/libc/"))
        self.lines_match("secret-memcmp", r"memcmp\([^)]*(hmac|tag|secret|password|token|digest_expected)",
                         "memcmp on a secret; use cmx_secret_equal")

    def rule_if_in_function(self):
        for s in self.sources:
            for f in s.functions:
                for number in range(f.first, f.last + 1):
                    if re.match(r"\s*#\s*(if|ifdef|ifndef|elif)\b", s.lines[number - 1]):
                        self.complain("if-in-function", f"{s.path}:{number}: conditional compilation inside {f.name}; choose files instead")

    def rule_once(self):
        """Every header has #pragma once, except lists of rows, whose comment has the words No include guard."""
        for s in self.sources:
            if s.path.endswith(".h") and "#pragma once" not in s.lines and "No include guard" not in s.text:
                self.complain("once", f"{s.path} has no #pragma once")

    def rule_libssh(self):
        for s in self.sources:
            if any(i.startswith("libssh/") for i in s.system_includes) and \
                    not re.fullmatch(r"src/cmxsafe/proxy/ssh(_[a-z]+)?\.c", s.path):
                self.complain("libssh", f"{s.path} includes libssh; only proxy/ssh*.c may, and no header")

    def rule_modules(self):
        for s in self.sources:
            if s.path.startswith("src/cmxsafe/"):
                module = s.module.split("/")[0]
                for include in s.includes:
                    if not include.startswith("cmxsafe/"):
                        if module in ALLOWED and s.module == module:
                            self.complain("include-path", f"{s.path}: {include} is not relative to src/")
                        continue
                    other = include.split("/")[1]
                    if module in ALLOWED and s.module == module and "/" in include[8:] and \
                            other != module and other not in ALLOWED[module]:
                        self.complain("module", f"{s.path}: {module} may not depend on {other}")
                if PURE.match(s.path):
                    for line in s.lines:
                        if IMPURE.search(line):
                            self.complain("pure", f"{s.path}: a pure module has {line.strip()}")
        self.lines_match("socket-names", r"\blwip_(socket|connect|bind|listen|accept|send|recv|read|write|close|poll|select)\(",
                         "sockets keep their POSIX names", lambda s: s.path.startswith("src/cmxsafe/"))

    def rule_prefix(self):
        """After the prefix (cmx_, gw_, agent_ or board_), a public function's name begins with a word of its file's name, the
        name of its folder, a type that its header declares, the type of its first parameter, or `cmd`."""
        given = set()  # names that a contract, an application or another project chose
        for s in self.sources:
            if CONTRACT.match(s.path) or PUBLIC_HEADER.match(s.path):
                given |= s.identifiers()
        for s in self.sources:
            if not s.path.endswith(".c") or OTHERS_NAMES.match(s.path):
                continue
            folder, name = os.path.split(s.path[:-2])
            words = set(name.split("_")) - {"gw", "cmd"} | {os.path.basename(folder), "cmd"}
            words |= {w[:-1] for w in words if w.endswith("s")} | {w + "s" for w in words}
            header = self.by_path.get(s.path[:-2] + ".h")
            types = header.types() if header else set()
            for f in s.functions:
                if f.static or f.name == "main" or f.name in given or f.name.startswith("__"):
                    continue
                nouns = {p + w for w in words for p in ("",) + OURS} | types | f.first_types
                if not any(f.name == n or f.name.startswith(n + "_") for n in nouns):
                    self.complain("prefix", f"{s.path}: {f.name} begins neither with a word of its file ({', '.join(sorted(words))}) "
                                  "nor with its type")

    def rule_cycles(self):
        graphs = {"cycle": collections.defaultdict(set), "module-cycle": collections.defaultdict(set)}
        contract = collections.defaultdict(set)
        for s in self.sources:
            if CONTRACT.match(s.path):
                for name in s.identifiers() & set(self.defined):
                    contract[name].add(s)
        for s in self.sources:
            if PUBLIC_HEADER.match(s.path):
                continue
            targets = {self.resolve(s, i) for i in s.includes} - {None}
            if s.path.endswith(".c"):
                own = {f.name for f in s.functions}
                for name in s.identifiers() & set(self.defined):
                    if name not in own and name.startswith(OURS) and len(self.defined[name]) == 1:
                        targets |= contract[name] if name in contract else self.defined[name]
            graphs["cycle"][s.unit] |= {t.unit for t in targets if t.unit != s.unit}
            graphs["module-cycle"][s.module] |= {t.module for t in targets if t.module not in (s.module, "src")}
        for rule, graph in graphs.items():
            for component in cycles(graph):
                for node in component:
                    self.complain(rule, f"{node} is in a cycle: {' '.join(component)}")

    def rule_cmake_cycles(self):
        graph = collections.defaultdict(set)
        for p in self.files:
            if (p.startswith(("cmake/host",) + PRODUCT) or p == "CMakeLists.txt") and p.endswith((".cmake", "CMakeLists.txt")):
                for target, libraries in re.findall(r"target_link_libraries\((\S+)([^)]*)\)", read(p)):
                    graph[target] |= set(libraries.split()) - {"PUBLIC", "PRIVATE", "INTERFACE"}
        for component in cycles(graph):
            self.complain("cmake-cycle", f"CMake targets link each other: {' '.join(component)}")

    def rule_names(self):
        seen = collections.defaultdict(list)
        for s in self.sources:
            seen[os.path.basename(s.path)].append(s.path)
        for name, paths in seen.items():
            if len(paths) > 1 and name != "main.c":
                self.complain("duplicate-name", f"{name} exists more than once: {' '.join(paths)}")

    def rule_one_place(self):
        for what, pattern, files in ONE_PLACE:
            expression = re.compile(pattern)
            for s in self.sources:
                if not re.fullmatch(files, s.path):
                    code = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), s.text, flags=re.S)
                    for number, line in enumerate(code.split("\n"), 1):
                        if expression.search(line):
                            self.complain("one-place", f"{s.path}:{number}: {what} is elsewhere: {line.strip()}")

    def rule_named_files(self):
        """A file comment begins with the file's own name, and comments name files that exist."""
        names = {os.path.basename(p) for p in self.files} | FOREIGN_FILES
        for s in self.sources:
            own = re.match(r"/\* (\w+\.[ch]) - ", s.text)
            if own and own.group(1) != os.path.basename(s.path):
                self.complain("named-files", f"{s.path}: its comment calls it {own.group(1)}")
            for comment in re.findall(r"/\*.*?\*/", s.text, re.S):
                for name in re.findall(r"(?<![\w./*<-])[a-z][a-z0-9_]+\.[ch]\b", comment):
                    if name not in names:
                        self.complain("named-files", f"{s.path}: a comment names {name}, which does not exist")

    def rule_states(self):
        for s in self.sources:
            for f in s.functions:
                if STATE_FOLDERS.match(s.path) and not STATE_SETTERS.search(f.name):
                    for number in range(f.first, f.last + 1):
                        if STATE.search(s.lines[number - 1]):
                            self.complain("state", f"{s.path}:{number}: {f.name} sets a state without its setter")

    def rule_map(self):
        """docs/ARCHITECTURE.md names files that exist."""
        for path in set(re.findall(r"`([a-z0-9_/]+\.(?:c|h|nft))`", read("docs/ARCHITECTURE.md"))):
            if not any(p == path or p.endswith("/" + path) for p in self.files):
                self.complain("map", f"docs/ARCHITECTURE.md: no file {path}")

    def rule_root(self):
        """ROOT_FILES names every file at the root, so that a file that a command left there is not committed by accident."""
        for path in sorted(set(p for p in self.files if "/" not in p) - ROOT_FILES):
            self.complain("root", f"{path}: not one of the files at the root (ROOT_FILES in scripts/check_style.py)")

    def rule_size(self):
        for s in self.sources:
            n = s.text.count("\n")
            if n > MAX_FILE_LINES:
                self.complain("file-size", f"{s.path}: {n} lines ({MAX_FILE_LINES} is the limit)")
            for f in s.functions:
                if f.last - f.first - 1 > MAX_FUNCTION_LINES:
                    self.complain("function-size", f"{s.path}:{f.first}: {f.name} has {f.last - f.first - 1} lines ({MAX_FUNCTION_LINES} is the limit)")

    def rule_unused(self):
        """Every exported function has a caller in the product or in an example, or docs/ documents it for applications.
        Callers in tests do not count."""
        words = re.compile(r"\b[A-Za-z_]\w+\b")
        used = collections.Counter()
        for p in self.files:
            if p.startswith(PRODUCT + ("examples/",)) and p.endswith((".c", ".cpp", ".h", ".ino")):
                declaration = p.endswith(".h") and not PUBLIC_HEADER.match(p)
                for line in blank(read(p)):
                    # In a header, a line at column 0 is a declaration; calls are in indented lines and in macros.
                    if not declaration or re.match(r"\s|#", line):
                        used.update(words.findall(line))
        documented = set(words.findall("\n".join(read(p) for p in self.files if re.fullmatch(r"docs/\w+\.md", p))))
        for name, sources in self.defined.items():
            if name.startswith(OURS) and name not in TEST_HOOKS | documented and used[name] <= len(sources):
                path = sorted(s.path for s in sources)[0]
                self.complain("unused", f"{path}: nothing but tests calls {name}")

    def run(self):
        for name in sorted(vars(Style)):
            if name.startswith("rule_"):
                getattr(self, name)()
        for line in self.bad:
            print(line)
        return 1 if self.bad else 0


sys.exit(Style().run())
