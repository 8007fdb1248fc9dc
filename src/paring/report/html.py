"""HTML as values: text is escaped, markup is not, and the two cannot be mixed up."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Html | None
Attribute = str | int | float | bool | None


def tag(name: str, *children: Child, **attributes: Attribute) -> Html:
    """One element. `class_` is class, `aria_label` aria-label; None and False leave an attribute out.

    Example: tag("td", "a < b", class_="num") -> <td class="num">a &lt; b</td>.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Elements and text one after the other; text is escaped."""
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children if child is not None))


def lines(children: list[Html]) -> Html:
    """Elements, each on a line of its own."""
    return Html("\n".join(children))


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {key}="{escape(text)}"'
