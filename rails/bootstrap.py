"""Silence every library that phones home. Import this before any third-party library.

guardrails-ai exports spans to its vendor's host and waits for the upload at exit, litellm (which it pulls in) fetches a
price list at import, langchain reports to LangSmith when a key happens to be set, the Hugging Face libraries count
their users, and pydantic lets any installed package listen to what it checks (and reads the metadata of all of them to
find out which want to). Some of these switches are read at import time only, hence a module with an effect at import:
the one exception to "no work at import" in this code base.

The Hugging Face hub's second way to download, Xet, has a cache and logs of its own; held-back text must lie nowhere but
where we hide it from trials, so files come over plain HTTP.

And leave out what costs every start three seconds: jsonschema (which guardrails-ai pulls in) compiles a grammar at
import to check the format "iri", which it does without when that package is not there, and which nobody here asks for.

And let the threads of numerical libraries sleep while they wait (those of trials do, too): by default they spin, on the
very cores that the trial needs which they wait for: beside busy neighbours scoring took four times as long.
"""

import os
import sys

SILENCED: dict[str, str] = {
    "OTEL_SDK_DISABLED": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "GUARDRAILS_RUN_SYNC": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "DO_NOT_TRACK": "1",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}

NEEDLESS = "rfc3987_syntax"

os.environ.update(SILENCED)
os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded
sys.modules.setdefault(NEEDLESS, None)  # pyright: ignore[reportArgumentType]  # to an import, a missing package
