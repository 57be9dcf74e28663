"""The element that everything on the wire consists of."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    """A stanza or an element of one.

    Attributes:
        tag: Name of the element.
        attrs: Attributes; JIDs are strings here, whatever form they have on the wire. An empty value is left out.
        content: Children, or bytes, or None. An empty list of children is encoded as no content.
    """

    tag: str
    attrs: dict[str, str] = field(default_factory=dict)
    content: list[Node] | bytes | None = None

    def child(self, tag: str) -> Node | None:
        """Return the first child with this tag, or None."""
        if isinstance(self.content, list):
            for node in self.content:
                if node.tag == tag:
                    return node
        return None

    def children(self, tag: str | None = None) -> list[Node]:
        """Return the children, all of them or those with this tag."""
        if not isinstance(self.content, list):
            return []
        return self.content if tag is None else [node for node in self.content if node.tag == tag]

    @property
    def data(self) -> bytes:
        """The content as bytes; empty when there is none or it is children."""
        return self.content if isinstance(self.content, bytes) else b""
