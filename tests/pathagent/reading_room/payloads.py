"""What an attacker types: ways out of a folder, addresses that a server must not fetch, and markup.

Each set is a product of forms and spellings, so that no form is tried in one spelling only. Paths are
spelt as the bytes of a request's target: percent signs stand as they are sent.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Final

WANTED: Final = (
    "etc/passwd", "cookie.key", "outside.tiff", "reading-room.sqlite", "windows/win.ini", "proc/self/environ",
)  # fmt: skip
"""Files that lie outside of what may be shown; none of them is ever opened for a request."""
CLIMBS: Final = (
    "../",
    "../" * 8,
    "....//" * 4,
    "..;/" * 4,
    "S1/../../../",
    "./.././",
    "/",
    "//",
    "C:/",
    "~/",
)
HOSTS: Final = (
    "127.0.0.1:1/", "[::1]:1/", "169.254.169.254/latest/meta-data/", "evil.example/x.tiff", "0x7f000001/",
    "2130706433/", "127.0.0.1%00.evil.example/", "user@127.0.0.1:1/",
)  # fmt: skip
SCHEMES: Final = ("http://", "https://", "ftp://", "gopher://", "file://", "dict://", "//", "jar:http://")

Spelling = Callable[[str], str]


def _in_place_of(dot: str, slash: str) -> Spelling:
    return lambda text: text.replace(".", dot).replace("/", slash)


SPELLINGS: Final[tuple[Spelling, ...]] = (
    lambda text: text,
    _in_place_of(".", "%2f"),
    _in_place_of("%2e", "%2f"),
    _in_place_of("%252e", "%252f"),
    _in_place_of(".", "\\"),
    _in_place_of("%2e", "%5c"),
    _in_place_of("%c0%ae", "%c0%af"),
    _in_place_of("%ef%bc%8e", "%ef%bc%8f"),
    lambda text: f"{text.replace('/', '%2f')}%00.jpeg",
)
"""Plain; percent once and twice; backslashes; overlong and full-width letters; an end that is cut off."""
TRAVERSAL: Final = tuple(spell(climb + wanted) for climb, wanted, spell in product(CLIMBS, WANTED, SPELLINGS))
SSRF: Final = tuple(
    spell(scheme + host)
    for scheme, host, spell in product(
        SCHEMES,
        HOSTS,
        (SPELLINGS[0], SPELLINGS[1], lambda text: text.replace(":", "%3a").replace("/", "%2f")),
    )
)
PATHS: Final = tuple(dict.fromkeys(TRAVERSAL + SSRF))

HARM: Final = "document.documentElement.dataset.harmed=1"
"""What every script among the payloads would do; a page that carries the mark was taken over."""
ELEMENTS: Final = (
    "<script>{}</script>", "<img src=x onerror={}>", "<svg onload={}>", "<svg><script>{}</script></svg>",
    "<iframe src=javascript:{}></iframe>", "<a href=javascript:{}>x</a>", "<body onload={}>",
    "<details open ontoggle={}>x</details>", "<input autofocus onfocus={}>",
    "<style>@import 'http://evil.example/{}';</style>", "<link rel=stylesheet href=http://evil.example/{}>",
    "<meta http-equiv=refresh content='0;url=javascript:{}'>",
)  # fmt: skip
BREAKS: Final = ("{}", "\"'>{}", "</script></title></textarea>{}", "]]>--> `{}")
"""From text, out of an attribute, out of elements that hold text only, out of a comment or of code."""
MARKDOWN: Final = (
    "![x](http://evil.example/x.png)", "![x][1] [1]: http://evil.example/x.png", "[x](javascript:alert(1))",
    "[![x](http://evil.example/x.png)](http://evil.example/)", "<http://evil.example/x>",
    "![](//evil.example/x.png)", "![x](data:text/html;base64,PHNjcmlwdD4=)", "| ![x](http://evil.example/) |",
    "&lt;img src=x onerror=alert(1)&gt;", "{{7*7}} ${7*7} {%raw%}", '#eval("1") #image("/etc/passwd")',
    "\\![x](http://evil.example/x.png)",
)  # fmt: skip
MARKUP: Final = (
    tuple(within.format(element.format(HARM)) for within, element in product(BREAKS, ELEMENTS)) + MARKDOWN
)
