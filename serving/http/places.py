"""Where things are on the server's machine is told to its operator, and not to whoever may ask over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

HOME = "$PORTRAIT_HOME"
ELSEWHERE = "<path>"

# Two names and more behind a slash, as no word of a sentence has; addresses of servers and of this API are none.
_PATH = re.compile(r"(?:sqlite|file):/{2,}[^\s'\",;()]+|(?<![\w/.$:>~-])/(?!v1/)[^\s'\"/,;()]+(?:/[^\s'\",;()]*)+")


def without_places(text: str, home: Path) -> str:
    """Return a text without paths of this machine; what is below the home is named by it.

    >>> without_places("see /srv/shop a/redis/server.log, or sqlite:////data/mlflow.db", Path("/srv/shop a"))
    'see $PORTRAIT_HOME/redis/server.log, or <path>'
    >>> without_places("ask http://mlflow.shop/a/b or /v1/predict; see /docs.", Path("/srv/shop"))
    'ask http://mlflow.shop/a/b or /v1/predict; see /docs.'
    """
    for name in (str(home), quote(str(home))):
        text = re.sub(rf"(?:(?:sqlite|file):/{{2,}})?{re.escape(name)}", lambda _: HOME, text)
    return _PATH.sub(ELSEWHERE, text)
