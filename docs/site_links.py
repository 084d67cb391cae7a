"""For the site: links that leave docs/ lead nowhere there. README is the first page, others are named only."""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text for the site."""
    markdown = markdown.replace("](../README.md)", "](index.md)")
    return re.sub(r"\[(`?[^\]]*`?)\]\(\.\./([^)#]+)[^)]*\)", r"\1 (`\2`)", markdown)
