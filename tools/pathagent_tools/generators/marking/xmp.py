"""The mark in the metadata: XMP with IPTC's digital source type, readable by any photo software."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.sax.saxutils import escape

from pathagent_tools.generators.marking.provenance import SOURCE_TYPE

_RECORD: Final = re.compile(r"<pathagent:Record>(.*?)</pathagent:Record>", re.DOTALL)


def packet(record: dict[str, Any]) -> str:
    """An XMP packet that says "trained algorithmic media" and carries the origin as JSON."""
    said = escape(json.dumps(record, ensure_ascii=False, sort_keys=True))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:pathagent="https://github.com/pathagent/pathagent/ns/1.0/">'
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType>"
        f"<pathagent:Record>{said}</pathagent:Record>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )


def says_synthetic(text: str) -> bool:
    """Whether a packet has the digital source type of generated media."""
    return bool(re.search(rf"DigitalSourceType[^<>]*>?\s*\"?{re.escape(SOURCE_TYPE)}", text))


def record_of(text: str) -> dict[str, Any]:
    """The origin that a packet carries; empty where it carries none."""
    from xml.sax.saxutils import unescape

    found = _RECORD.search(text)
    said: dict[str, Any] = json.loads(unescape(found[1])) if found else {}
    return said
