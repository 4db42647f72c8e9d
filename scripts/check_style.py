#!/usr/bin/env python3
"""Checks the code against the rules of docs/ARCHITECTURE.md, and prints each violation. Run by scripts/check_style.sh.

usage: check_style.py [ROOT]
"""
import collections
import functools
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
COPIED_LINES = 12

# The modules that each module of the device library, and each program, may use: by an #include or by a function's name.
# A folder without a row is a violation. "src" stands for the public headers; in the row of a program, for the whole library.
CORE = {"core"}
CONTRACTS = CORE | {"port", "http"}
ALLOWED = {
    "core": set(),
    "http": CORE,
    "port": CORE | {"http"},
    "proxy": CONTRACTS,
    "isolation": CONTRACTS,
    "ota": CONTRACTS,
    "attest": CONTRACTS,
    "identity": CONTRACTS,
    "device": CONTRACTS | {"src", "proxy", "isolation", "ota", "attest", "identity"},
    "port/lwip": CONTRACTS | {"port/esp"},
    "port/esp": CONTRACTS | {"port/lwip", "proxy", "device"},
    "esp": CONTRACTS | {"src", "proxy", "isolation", "ota", "attest", "identity", "device", "port/esp", "port/lwip"},
    "src": {"src", "core", "device", "proxy"},
    "port/linux": {"src"},
    "agent": {"src", "port/linux"},
    "board": {"src", "port/linux"},
    "gateway": {"src", "port/linux"},
    "cli": {"src", "port/linux", "gateway"},
}
# These modules compute only from their arguments: no I/O, no clock, no lock, no allocation, no log, no variables that
# outlive a call. The update service (ota/service*, ota/upload*) is not one of them.
PURE = re.compile(r"src/cmxsafe/(isolation|attest|ota)/(?!service(_\w+)?\.[ch]$|upload\.[ch]$)")
PURE_SYSTEM = {"inttypes.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h", "string.h", "strings.h"}
IMPURE = re.compile(r'"cmxsafe/(core/(mem|log|backoff)|port/(port|poll))\.h"|\bcmx_(port|log|mem)(_\w+)?\('
                    r"|\b(f?printf|puts|putchar|perror|f(open|read|write|puts|putc)|getenv|time|rand|free|abort|exit)\("
                    r"|^\s*static (?!.*\bconst\b)[^()]*(;|=.*)$|^\s*static const [\w ]+ \*\w+( =|;)")
# The contract with a platform: callers depend on these headers, not on the files that implement them.
CONTRACT = re.compile(r"src/cmxsafe/(port/[a-z]+\.h|http/http\.h)$")
# These files define names of libc, lwIP and FreeRTOS.
OTHERS_NAMES = re.compile(r"port/linux/libc/|board/idf/freertos\.c|board/lwip/(sockets|netifs)\.c|gateway/bpf/")
# Public headers: applications and tests call their functions; the product need not call them.
PUBLIC_HEADER = re.compile(r"src/[^/]+\.h$|src/cmxsafe/esp/device_esp\.h$")
# Features with one implementation each: name, a pattern for the code without comments, and the files that match it. No
# other file may match. Each of these files must match, which shows that the pattern would find a copy of the code.
ONE_PLACE = (
    ("the parser of command lines", r"\bgetopt|\bstrn?(case)?cmp\(argv\[\d\], \"-(?!-version)", ()),
    ("the HTTP client", r"\bcurl_(?!version_info)\w+\(|\"(GET|POST|PUT|HEAD) [^\"]*HTTP/", ("cli/common/http_client.c",)),
    ("the INI reader", r"#include <ini\.h>|\bline(\[0\]) == '\['|\*line == '\['|== '#'.*== ';'", ("port/linux/ini_file.c",)),
    ("notifications to systemd", r"sd_notify|NOTIFY_SOCKET", ("port/linux/notify.c",)),
    ("the list of labels", r'"@?(?i:cmx(safe)?)[ -]([a-z0-9-]+[ -])*v?\d+"|\b(cmx_hmac|cmx_sha256)_\w+\([^"]*"\w',
     ("src/cmxsafe/core/label.c", "src/cmxsafe/core/label.h", "src/cmxsafe/identity/attest_key.h", "gateway/registry/copy_state.c")),  # the last two name file formats
    # gw_status.c joins the JSON answers of several gateways as text, because no JSON parser is linked. The pattern
    # leaves out code that reads JSON.
    ("the JSON writer", r'^(?!.*(str(str|len|cmp)\(|answer_is\(|_array\(|#define|CLI_\w+\()).*"(\\.|[^"\\])*\\"(\w+|%s)\\": ?(?!:)', ("cli/gateway/gw_status.c",)),
    # core/text.c and core/json.c clean text. The other files only refuse input with control characters.
    ("the cleaner of control characters", r"\b(iscntrl|isprint)\(|(?<!<)< (0x20\b|' ')|<= (' '|0x1f\b)|== 0x7f\b|> 0x7e\b|\*\w+ (< 32|== 127)\b|\w\] < 32\b",
     ("src/cmxsafe/core/text.c", "src/cmxsafe/core/json.c", "src/cmxsafe/attest/claims_decode.c", "port/linux/ini_file.c", "gateway/folder/gw_folder.c")),
    ("the log", r"\bESP_LOG\w+\(|\b(v?syslog|sd_journal_\w+)\(", ("src/cmxsafe/port/esp/port_esp.c", "gateway/authkeys/main.c")),
    ("the text of a reason (struct cmx_why)", r"\bchar \*why, size_t", ()),
    ("the packet filter's rules (a .nft file)", r'"[^"]*\b(ct state|policy (drop|accept)|hook (input|output|forward)|(add|insert) (rule|chain)|[sd](addr|port) [^"]*(accept|drop))\b',
     ("gateway/render/gw_nft.c",)),
)
# Each state has one setter, which logs; a constructor may set the first state. A state is a member whose type is an enum
# named *_state or *_phase. The states of parsers, of packet flows and of the registry's rows have no log.
STATE_FOLDERS = re.compile(r"src/cmxsafe/(proxy|device|esp)/|src/cmxsafe/ota/service|agent/|board/|gateway/server/")
STATE_MEMBER = re.compile(r"^\s+(?:enum )?(?!cmx_debug_state)\w+_(?:state|phase)(?:_name)? (\w+(?:\[\w+\])?(?:, \w+)*);", re.M)
STATE_SETTERS = re.compile(r"(?:^|_)(?:set|enter)_(\w+)$")
CONSTRUCTORS = re.compile(r"(_new|_open)$")
OURS = ("cmx_", "gw_", "agent_", "board_", "cmd_")
# An array size that contains a number above 8. (The word before [ tells a declaration from an initializer.)
NUMBER_AS_SIZE = re.compile(r"\w\)?(\[[^\]]*\])*\[[^\]]*\b(9|[1-9]\d+|0x[\da-f]{2,})u?l{0,2}\b[^\]]*\]", re.I)
# Files of other projects that our comments cite as sources.
FOREIGN_FILES = {"auth.c", "bootloader_utility.c", "esp_app_format.h", "esp_flash_partitions.h", "esp_ota_ops.c", "kex.c", "nchan.c",
                 "options.c", "serverloop.c", "sshd.c"}
# Structs that tables copy, compare or merge member by member: the header, the struct, the files with the tables, and the
# members that the tables may leave out.
MEMBERS = (
    ("src/cmxsafe/proxy/context.h", "cmx_gateway", ("src/cmxsafe/proxy/gateway_options.h", "src/cmxsafe/proxy/proxy_config.c"),
     {"want_session_id"}),  # does not change while the program runs
    ("src/cmxsafe/device/device_settings.h", "cmx_settings", ("src/cmxsafe/device/merge.c",), set()),
    *(("agent/config/agent_config.h", f"{s}_section", ("agent/config/config_table.c",), {"head"}) for s in ("agent", "gateway", "isolation", "identity", "attest", "ota")),
)
# Functions whose result a caller may ignore: reporting that a socket has closed cannot fail.
MAY_IGNORE = {"cmx_device_isolation_socket"}
# Names that several files must have: each program's main.c, and headers that a build finds by their name.
SAME_NAMES = {"main", "settings", "freertos", "crypto"}
# Functions that only tests call.
TEST_HOOKS = {"cmx_mem_fail_at", "cmx_mem_reset_peak", "cmx_device_isolation_end"}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def tracked():
    out = subprocess.run(["git", "-C", ROOT, "ls-files"], capture_output=True, text=True, check=True).stdout.split("\n")
    return [p for p in out if os.path.isfile(os.path.join(ROOT, p))]


TOKENS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
INCLUDE = re.compile(r'\s*#\s*include\s+(?:"([^"]+)"|<([^>]+)>|(\w+))')


def blank(text):
    """Returns the code without comments and string contents; lines keep their numbers. #include lines keep their path."""
    def keep(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token[0] + token[0]
        return "\n" * token.count("\n") or " "
    includes = {i: line for i, line in enumerate(text.split("\n")) if INCLUDE.match(line)}
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
        self.code = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), self.text, flags=re.S).split("\n")  # with its strings
        self.functions = []
        head, start = [], None
        for number, line in enumerate(self.lines, 1):
            if start is None and line.rstrip() == "{":
                start = number
            elif line.startswith("}"):
                if start is not None:
                    declaration = re.sub(r"\((\w+)\)\(", r" \1(", " ".join(head))  # void(name)(...): a function whose name is also a macro
                    name = re.search(r"(\w+)\s*\(", re.sub(r"__attribute__\s*\(\(.*?\)\)|\bCMX_[A-Z]+\(.*?\)", "", declaration))
                    if name:
                        self.functions.append(Function(name.group(1), declaration, start, number))
                head, start = [], None
            elif start is None:
                if line.startswith("#") or not line.strip() or line.rstrip().endswith(";"):
                    head = []
                else:
                    head.append(line.strip())
        found = [m.groups() for m in map(INCLUDE.match, self.lines) if m]
        self.includes = [quoted for quoted, _, _ in found if quoted]
        self.system_includes = [angle for _, angle, _ in found if angle]
        self.computed_includes = [macro for _, _, macro in found if macro]

    @property
    def module(self):
        """Returns the folder, without src/cmxsafe/: core, proxy, port/esp, agent/config, ..."""
        folder = os.path.dirname(self.path)
        return folder[len("src/cmxsafe/"):] if folder.startswith("src/cmxsafe/") else folder

    @property
    def rank(self):
        """Returns the row of ALLOWED for this file: the module of the device library, or the program's folder."""
        parts = self.module.split("/")
        if self.path.startswith("src/cmxsafe/") and parts[0] != "port" or parts[0] in ("agent", "board", "cli", "gateway", "src"):
            return "src" if self.path == "src/cmxsafe/version.h" else parts[0]
        return "/".join(parts[:2])

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

    @functools.cached_property
    def identifiers(self):
        return set(re.findall(r"\b[A-Za-z_]\w+\b", "\n".join(l for l in self.lines if not INCLUDE.match(l))))


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
        self.contract = collections.defaultdict(set)  # name of a function of the contract -> the headers that declare it
        for s in self.sources:
            if CONTRACT.match(s.path):
                for name in s.identifiers & self.defined.keys():
                    self.contract[name].add(s)

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
        """No conditional compilation inside a function, nor between its head and its body: at a directive, every open
        brace belongs to a type, an initializer, a namespace or extern "C"."""
        for path in self.files:
            if not path.startswith(PRODUCT + ("examples/",)) or not re.search(r"\.(c|h|cpp|ino)$", path):
                continue
            opened = []  # for each open brace: True if it opens code
            head = ""  # the text since the last ; { or }
            directive = False
            for number, line in enumerate(blank(read(path)), 1):
                if re.match(r"\s*(#|%:)\s*(if|el|endif)", line):
                    if any(opened):
                        self.complain("if-in-function", f"{path}:{number}: conditional compilation inside a function; choose files instead")
                    elif re.search(r"\)\s*$", head):
                        self.complain("if-in-function", f"{path}:{number}: conditional compilation between a function's head and its body")
                skip = directive or bool(re.match(r"\s*(#|%:)", line))
                directive = skip and line.endswith("\\")
                if not skip:
                    for c in line + " ":
                        if c == "{":
                            opened.append(any(opened) or bool(re.search(r"\)[\s\w]*$", head)) and "=" not in head)
                        elif c == "}" and opened:
                            opened.pop()
                        head = "" if c in ";{}" else head + c

    def rule_once(self):
        """Headers have #pragma once, except lists of rows, whose comment contains "No include guard"."""
        for s in self.sources:
            if s.path.endswith(".h") and "#pragma once" not in s.lines and "No include guard" not in s.text:
                self.complain("once", f"{s.path} has no #pragma once")

    def rule_libssh(self):
        """Only proxy/ssh*.c include or call libssh. cmxsafe.h names libssh_esp32.h for the Arduino builder."""
        use = re.compile(r"\b(?!ssh_port_forwarding_task\b)ssh_\w+\(|\bstruct ssh_\w+_struct\b|\bssh_(session|channel|key|event|message)\b")
        for s in self.sources:
            if re.fullmatch(r"src/cmxsafe/proxy/ssh(_[a-z]+)?\.c", s.path):
                continue
            if any("libssh" in i for i in s.includes + s.system_includes) and s.path != "src/cmxsafe.h":
                self.complain("libssh", f"{s.path} includes libssh; only proxy/ssh*.c may, and no header")
            for number, line in enumerate(s.lines, 1):
                if use.search(line) and not re.fullmatch(r"src/cmxsafe/proxy/ssh(_[a-z]+)?\.h", s.path):
                    self.complain("libssh", f"{s.path}:{number}: only proxy/ssh*.c may use libssh: {line.strip()}")

    @functools.cached_property
    def users(self):
        """Returns (source, used source, by), where `by` is the #include or the function's name that shows the use."""
        found = []
        for s in self.sources:
            own = {f.name for f in s.functions}
            for include in s.includes:
                target = self.resolve(s, include)
                if target and not include.startswith("freertos/"):  # FreeRTOS's own headers, except on the virtual board
                    found.append((s, target, include))
            for name in s.identifiers & self.defined.keys() if s.path.endswith(".c") else ():
                if name not in own and name.startswith(OURS) and (name in self.contract or len(self.defined[name]) == 1):
                    for target in self.contract.get(name) or self.defined[name]:
                        found.append((s, target, name))
        return found

    def rule_modules(self):
        for s in self.sources:
            if s.rank not in ALLOWED:
                self.complain("module", f"{s.path}: the folder {s.rank} has no row in ALLOWED")
            for include in s.computed_includes + [i for i in s.system_includes if i.startswith(("cmxsafe/",) + PRODUCT)]:
                self.complain("include-path", f"{s.path}: write #include \"PATH\", not {include}")
            for include in s.includes:
                if ALLOWED.get(s.rank, CONTRACTS) <= CONTRACTS and not include.startswith("cmxsafe/"):
                    self.complain("include-path", f"{s.path}: {include} is not relative to src/")
        for s, target, by in self.users:
            allowed = ALLOWED.get(s.rank, set())
            if target.rank != s.rank and target.rank not in allowed and not (target.path.startswith("src/") and "src" in allowed and not s.path.startswith("src/")):
                self.complain("module", f"{s.path}: {s.rank} may not depend on {target.rank} ({by})")
        for s in self.sources:
            if PURE.match(s.path):
                for line in s.lines:
                    if IMPURE.search(line):
                        self.complain("pure", f"{s.path}: a pure module has {line.strip()}")
                for header in set(s.system_includes) - PURE_SYSTEM:
                    self.complain("pure", f"{s.path}: a pure module includes <{header}>")
        self.lines_match("socket-names", r"\b(lwip_[a-z]+|closesocket|ioctlsocket)\(", "sockets keep their POSIX names",
                         lambda s: s.path.startswith("src/") and "/port/" not in s.path)

    def rule_prefix(self):
        """After the prefix (cmx_, gw_, agent_ or board_), a public function's name begins with a word of its file's name, the
        name of its folder, a type that its header declares, the type of its first parameter, or `cmd`."""
        given = set()  # names that a contract, an application or another project chose
        for s in self.sources:
            if CONTRACT.match(s.path) or PUBLIC_HEADER.match(s.path):
                given |= s.identifiers
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
        for s, t, _ in self.users:
            if not PUBLIC_HEADER.match(s.path):
                graphs["cycle"][s.unit] |= {t.unit} - {s.unit}
                graphs["module-cycle"][s.module] |= {t.module} - {s.module, "src"}
        for rule, graph in graphs.items():
            for component in cycles(graph):
                for node in component:
                    self.complain(rule, f"{node} is in a cycle: {' '.join(component)}")

    def rule_cmake_cycles(self):
        """The CMake targets of the product do not link each other in a cycle, and tests do not change what they link."""
        text = "\n".join(re.sub(r"#.*", "", read(p)) for p in self.files
                         if p.endswith((".cmake", "CMakeLists.txt")) and not p.startswith(("tests/", "fuzz/", "examples/", "cmake/esp", "cmake/libssh")))
        graph = collections.defaultdict(set)
        for program in re.findall(r"\bcmx_program\((\S+) ", text) + ["${name}"]:
            for target, libraries in re.findall(r"\b(?:target_link_libraries|add_dependencies)\((\S+)([^)]*)\)", text):
                libraries = libraries.replace("${name}", program).split()
                graph[target.replace("${name}", program)] |= set(libraries) - {"PUBLIC", "PRIVATE", "INTERFACE"}
        for path in self.files:
            if path.startswith(("tests/", "fuzz/")) and path.endswith((".cmake", "CMakeLists.txt")):
                for target in re.findall(r"\b(?:target_link_libraries|add_dependencies)\((\S+)", read(path)):
                    if target in graph and target != "${name}":
                        self.complain("cmake-cycle", f"{path} links the product's target {target}")
        for component in cycles(graph):
            self.complain("cmake-cycle", f"CMake targets link each other: {' '.join(component)}")

    def rule_names(self):
        """No two C files have the same name, except a source and its header. Letter case, ending and folder are ignored. The
        files of unit tests and fuzzers count, too."""
        seen = collections.defaultdict(set)
        for p in self.files:
            if p.startswith(PRODUCT + ("tests/unit/", "tests/tools/", "tests/support/", "fuzz/")) and re.search(r"\.(c|h|cpp)$", p):
                unit = os.path.splitext(p)[0]
                seen[os.path.basename(unit).lower()].add(unit)
        for name, units in sorted(seen.items()):
            if len(units) > 1 and name not in SAME_NAMES:
                self.complain("duplicate-name", f"{name} exists more than once: {' '.join(sorted(units))}")

    def rule_one_place(self):
        for what, pattern, files in ONE_PLACE:
            expression = re.compile(pattern)
            found = [(s.path, number, line) for s in self.sources for number, line in enumerate(s.code, 1) if expression.search(line)]
            for path, number, line in found:
                if path not in files:
                    self.complain("one-place", f"{path}:{number}: {what} belongs elsewhere: {line.strip()}")
            for path in set(files) - {path for path, _, _ in found}:
                self.complain("one-place", f"{path}: no line matches the pattern of {what}")

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
        stateful = [s for s in self.sources if STATE_FOLDERS.match(s.path)]
        members = {re.match(r"\w+", m).group(0) for s in stateful for names in STATE_MEMBER.findall("\n".join(s.lines)) for m in names.split(", ")}
        assigned = re.compile(rf"(->|\.)({'|'.join(sorted(members))})(\[\w+\])? ?([-+|&]?=(?!=)|\+\+|--)|&(?!out\b)\w+(->|\.)({'|'.join(sorted(members))})\b(?!\.)")
        for s in stateful:
            for f in s.functions:
                body = s.lines[f.first - 1:f.last]
                setter = STATE_SETTERS.search(f.name)
                if setter and setter.group(1) in members | {"half"}:
                    if not re.search(r"\bcmx_log|(\b|_)(set|enter)_\w+\(", "\n".join(body)):
                        self.complain("state", f"{s.path}: {f.name} sets a state and does not log it")
                elif not CONSTRUCTORS.search(f.name):
                    for number, line in enumerate(body, f.first):
                        for m in assigned.finditer(line):
                            if not re.search(r"\b(out|v|facts)$|[{,] ?$", line[:m.start()]):
                                self.complain("state", f"{s.path}:{number}: {f.name} sets a state without its setter")

    def rule_map(self):
        """docs/ARCHITECTURE.md names files that exist, and each folder of the code."""
        text = read("docs/ARCHITECTURE.md")
        rows = dict(re.findall(r"^\| `([^`]+)` \| (.*)$", text, re.M))
        for module, path in {os.path.dirname(s.path): s.path for s in self.sources}.items():
            if module not in {*rows, "src", "src/cmxsafe"} and not any(module.startswith(r + "/") and re.search(rf"`(\w+/)?{module[len(r) + 1:]}/?`", rows[r]) for r in rows):
                self.complain("map", f"docs/ARCHITECTURE.md has no row for the folder {module} of {path}")
        for path in set(re.findall(r"`([a-z0-9_/]+\.(?:c|h|nft))`", text)):
            if not any(p == path or p.endswith("/" + path) for p in self.files):
                self.complain("map", f"docs/ARCHITECTURE.md names {path}, which does not exist")

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

    def rule_bounds(self):
        """Outside functions, thus for members, parameters and variables of a file, the size of an array is a named constant
        or a number up to 8. The local buffers of functions are not checked."""
        for s in self.sources:
            inside = {number for f in s.functions for number in range(f.first, f.last + 1)}
            for number, line in enumerate(s.lines, 1):
                if number not in inside and not line.startswith("#") and not s.lines[number - 2].endswith("\\") and NUMBER_AS_SIZE.search(line):
                    self.complain("bounds", f"{s.path}:{number}: a number is the size of an array; name the constant: {line.strip()}")

    def rule_unused(self):
        """Every exported function is reachable from a main function, an example, a table, a function that another project
        calls, or one that docs/ documents for applications. Callers in tests do not count. The function has a caller in
        another file, or its contract or another project names it; otherwise it is static."""
        words = re.compile(r"\b[A-Za-z_]\w+\b")
        statics = {s.path: {f.name for f in s.functions if f.static} for s in self.sources}
        calls = collections.defaultdict(set)  # (file or "", function) -> the functions that it names
        used = collections.defaultdict(set)   # name -> the files that name it, other than in a declaration
        todo = set()

        def key(path, name):
            return (path, name) if name in statics.get(path, ()) else ("", name)

        for p in self.files:
            if p.startswith("examples/") and re.search(r"\.(c|cpp|h|ino)$", p):
                todo |= {("", name) for name in words.findall("\n".join(blank(read(p))))}
            if re.fullmatch(r"docs/\w+\.md", p):
                todo |= {("", name) for name in words.findall(read(p))}
        for s in self.sources:
            inside = {}
            for f in s.functions:
                inside.update((number, f) for number in range(f.first, f.last + 1))
            declares = not PUBLIC_HEADER.match(s.path)
            for number, line in enumerate(s.lines, 1):
                f = inside.get(number)
                # Outside functions, a line at column 0 only declares, unless it begins a directive or a table.
                if not f and declares and not re.match(r"\s|#|static (const |struct )|const |_Static", line):
                    continue
                for name in words.findall(line):
                    used[name].add(s.path)
                    if f:
                        calls[key(s.path, f.name)].add(key(s.path, name))
                    else:
                        todo.add(key(s.path, name))
        todo |= {("", name) for name in TEST_HOOKS | {"main"}}
        todo |= {("", f.name) for s in self.sources for f in s.functions if f.name.startswith(("__", "lwip_hook_")) or OTHERS_NAMES.match(s.path)}
        reached = set()
        while todo:
            node = todo.pop()
            if node not in reached:
                reached.add(node)
                todo |= calls[node] - reached
        tests = set().union(*(words.findall(read(p)) for p in self.files if re.search(r"^(tests|fuzz)/.*\.[ch]$", p)))
        documented = tests | TEST_HOOKS | set(words.findall("\n".join(read(p) for p in self.files if re.fullmatch(r"docs/\w+\.md", p))))
        for name, sources in sorted(self.defined.items()):
            path = sorted(s.path for s in sources)[0]
            if ("", name) not in reached:
                self.complain("unused", f"{path}: nothing but tests calls {name}")
            elif name.startswith(OURS) and not self.contract[name] and name not in documented and used[name] <= {s.path for s in sources} \
                    and not OTHERS_NAMES.match(path):
                self.complain("static", f"{path}: no other file calls {name}; make it static")
        for s in self.sources:
            if s.path.endswith(".h") and not CONTRACT.match(s.path):
                for name in re.findall(r"^(?!static|typedef|#)\w[\w *]*?\b(\w+)\([^;]*\)[^;()]*;", "\n".join(s.lines), re.M):
                    if name.startswith(OURS) and name not in self.defined:
                        self.complain("undefined", f"{s.path}: no file defines {name}")

    def rule_headers(self):
        """A header begins with a comment. A source includes its own header first. A function that returns cmx_err is
        declared CMX_MUST_USE, unless it appends to a struct cmx_buf, which keeps the error."""
        for s in self.sources:
            if s.path.endswith(".h") and not s.text.startswith("/*"):
                self.complain("headers", f"{s.path} has no comment that says what it is for")
            for name in re.findall(r"^cmx_err (\w+)\((?!struct cmx_buf \*)", "\n".join(s.lines), re.M) if s.path.endswith(".h") else ():
                if name not in MAY_IGNORE:
                    self.complain("must-use", f"{s.path}: {name} returns cmx_err without CMX_MUST_USE")
            own = s.path[:-2] + ".h"
            first = INCLUDE.search("\n".join(s.lines))
            if s.path.endswith(".c") and own in self.by_path and not first.group(0).endswith(own.removeprefix("src/") + '"'):
                self.complain("headers", f"{s.path} does not include its own header first")

    def rule_members(self):
        """Tables that copy, compare or merge a struct have a row for each of its members."""
        for header, struct, tables, allowed in MEMBERS:
            body = re.search(rf"^struct {struct} \{{\n(.*?)^\}}", "\n".join(blank(read(header))), re.M | re.S).group(1)
            text = "\n".join("\n".join(blank(read(t))) for t in tables)
            for member in re.findall(r"\(\*(\w+)\)|(\w+)(?:\[\w+\])?(?: CMX_ZERO)?;", body):
                name = member[0] or member[1]
                if name and name not in allowed and not re.search(rf"\b{name}\b", text):
                    self.complain("members", f"{header}: no row of {' '.join(tables)} has {struct}.{name}")

    def rule_copies(self):
        """No COPIED_LINES consecutive lines of code occur twice: one table or function serves both places."""
        seen = {}
        for s in self.sources:
            code = [(n, " ".join(line.split())) for n, line in enumerate(s.code, 1) if line.strip("{}; ") and not line.startswith("#include")]
            for i in range(len(code) - COPIED_LINES + 1):
                first = seen.setdefault(tuple(line for _, line in code[i:i + COPIED_LINES]), (s.path, code[i][0], i))
                if first[0] != s.path or i - first[2] >= COPIED_LINES:
                    self.complain("copies", f"{s.path}:{code[i][0]}: the same {COPIED_LINES} lines are in {first[0]}:{first[1]}")

    def rule_python_options(self):
        for p in self.files:
            if (p.startswith("python/") and p.endswith(".py") or p == "remote_attestation.py") and re.search(r"\bsys\.argv|\b(getopt|optparse)\b", read(p)):
                self.complain("one-place", f"{p}: python/cmxsafe_tools/main.py parses the command line, with argparse")

    def run(self):
        for name in sorted(vars(Style)):
            if name.startswith("rule_"):
                getattr(self, name)()
        for line in self.bad:
            print(line)
        return 1 if self.bad else 0


sys.exit(Style().run())
