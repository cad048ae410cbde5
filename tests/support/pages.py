"""Reading an HTML page strictly, as a reader without eyes or with ill will would: what is in it, and is it sound?"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise

VOID = {"meta", "br", "hr", "img", "link", "input"}
_TAGS = """
html head meta title style body header nav main section article footer h1 h2 h3 p div span a strong code pre ul ol li
figure figcaption details summary table thead tbody tr th td svg g desc rect path circle line text
"""
TAGS = set(_TAGS.split())
"""All elements that the report is made of: none of them runs or loads anything."""


@dataclass
class Element:
    """One element: its attributes, the text directly and indirectly in it, and what it stands in."""

    tag: str
    attributes: dict[str, str]
    parents: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A parsed page; `errors` has every tag that is opened and not closed, or the other way round."""

    source: str
    elements: list[Element] = field(default_factory=list[Element])
    errors: list[str] = field(default_factory=list[str])
    declared: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        self.errors += [f"<{element.tag}> is never closed" for element in self._open]

    def __hash__(self) -> int:
        return id(self)

    def handle_decl(self, decl: str) -> None:
        self.declared = decl

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, tuple(e.tag for e in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].tag != tag:
            self.errors.append(f"</{tag}> closes {self._open[-1].tag if self._open else 'nothing'}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def handle_comment(self, data: str) -> None:
        self.errors.append(f"a comment: {data[:40]}")

    def unknown_decl(self, data: str) -> None:
        self.errors.append(f"a declaration: {data[:40]}")

    def all(self, *tags: str) -> list[Element]:
        """The elements of these kinds, in order."""
        return [element for element in self.elements if element.tag in tags]

    def one(self, tag: str) -> Element:
        """The only element of its kind."""
        (found,) = self.all(tag)
        return found

    @property
    def words(self) -> str:
        """All text of the body, with single spaces."""
        return " ".join(self.one("body").text.replace("\N{NO-BREAK SPACE}", " ").split())


def faults(page: Page) -> list[str]:
    """What is wrong with a page, whatever it tells: nesting, accessibility, and anything that could run or load."""
    return page.errors + _structure(page) + _accessibility(page) + _outside(page)


def _structure(page: Page) -> list[str]:
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    wrong = [f"the id {name!r} is there twice" for name in set(ids) if ids.count(name) > 1]
    for element in page.elements:
        named = element.attributes.get("aria-labelledby"), element.attributes.get("aria-describedby")
        wrong += [f"{name!r} names no element" for name in named if name is not None and name not in ids]
        href = element.attributes.get("href", "#")
        if href != "#" and href[1:] not in ids:
            wrong.append(f"the link {href!r} leads nowhere")
    return wrong


def _accessibility(page: Page) -> list[str]:
    wrong: list[str] = []
    if page.declared.lower() != "doctype html" or page.one("html").attributes.get("lang") != "en":
        wrong.append("doctype or language")
    if not [t for t in page.all("title") if "svg" not in t.parents and t.text.strip()]:
        wrong.append("no title")
    levels = [int(h.tag[1]) for h in page.all("h1", "h2", "h3")]
    if levels[:1] != [1] or levels.count(1) != 1:
        wrong.append("there must be one first heading, at the beginning")
    wrong += [f"h{b} after h{a}" for a, b in pairwise(levels) if b > a + 1]
    wrong += [f"an empty {h.tag}" for h in page.all("h1", "h2", "h3") if not h.text.strip()]
    for drawing in page.all("svg"):
        hidden = drawing.attributes.get("aria-hidden") == "true"
        named = drawing.attributes.get("role") == "img" and "aria-labelledby" in drawing.attributes
        if not hidden and not named:
            wrong.append("a drawing that has no name and is not hidden")
    wrong += ["a th without a scope" for th in page.all("th") if th.attributes.get("scope") not in {"col", "row"}]
    wrong += [
        "a region without a name"
        for e in page.elements
        if e.attributes.get("role") == "region" and "aria-label" not in e.attributes
    ]
    return wrong


def _outside(page: Page) -> list[str]:
    wrong = [f"<{e.tag}>" for e in page.elements if e.tag not in TAGS]
    for element in page.elements:
        for name, value in element.attributes.items():
            if name.startswith("on") or name in {"style", "src", "srcset", "action", "xlink:href", "background"}:
                wrong.append(f"{element.tag} {name}={value!r}")
            if name == "href" and not value.startswith("#"):
                wrong.append(f"a link out: {value!r}")
            if "url(" in value.lower() or "javascript:" in value.lower():
                wrong.append(f"{element.tag} {name}={value!r}")
    return wrong
