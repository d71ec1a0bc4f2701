"""The script Streamlit runs for every look at a page; all it shows is in the modules beside it."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from serving.console.screen import show

    show(default_lang=sys.argv[1] if len(sys.argv) > 1 else "en")
