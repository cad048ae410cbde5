"""Language models that a student is an adapter of: any causal model in Hugging Face's format, GGUF files included.

transformers and peft are in the extra `distil` and are imported where a model is loaded, nowhere before.
"""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.model.fetch import PACKAGED, is_fetched, model_path
from rails.errors import UserError
from trainer.data.cache import default_cache

INSTALL = "install them: pip install 'nightshift[distil]'"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LanguageBase:
    """A causal language model that was loaded, and its tokenizer."""

    name: str
    """As the card of a student says it: a path is absolute."""
    model: Any
    tokenizer: Any


def is_language_base(name: str) -> bool:
    """Whether a name can be that of a language model: a packaged one, a path, or `owner/model`."""
    return name in PACKAGED or "/" in name or name.endswith(".gguf") or Path(name).is_dir()


def full_name(name: str) -> str:
    """The name of a base that means the same from everywhere: paths are made absolute."""
    path = Path(name).expanduser()
    return str(path.resolve()) if name not in PACKAGED and path.exists() else name


def load_base(name: str) -> LanguageBase:
    """Load a language model: on a GPU in bfloat16 if there is one, else in single precision.

    Without a GPU it gets one thread, unless OMP_NUM_THREADS says otherwise: two on busy cores are slower than one.

    Args:
        name: a packaged model that was fetched (`smollm2`), a GGUF file, a folder, or `owner/model` on the Hub.

    Raises:
        UserError: the extra is not installed, or there is no such model.
    """
    torch, transformers = _libraries()
    source = _source(name)
    gpu = torch.cuda.is_available()
    if not gpu:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 1))
    folder = _unpacked(source) if source.endswith(".gguf") else source
    try:
        with quiet(transformers):
            safe: dict[str, Any] = {"trust_remote_code": False}  # said aloud, or a terminal is asked
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **safe)
            safe |= {"use_safetensors": True, "dtype": torch.bfloat16 if gpu else torch.float32}
            model = transformers.AutoModelForCausalLM.from_pretrained(folder, **safe)
    except (OSError, ValueError, KeyError) as error:
        said = str(error).strip().splitlines()[0][:300]
        raise UserError(f"the language model cannot be loaded ({said})", where=name, fix=_NAMES) from error
    if tokenizer.eos_token_id is None:
        raise UserError("the model's tokenizer has no end token, which ends an answer", where=name, fix=_NAMES)
    kinds = set(getattr(model.config, "layer_types", None) or ())
    if not kinds <= {"full_attention", "sliding_attention"}:
        what = f"the model has layers that are no attention ({', '.join(sorted(kinds))})"
        raise UserError(what, where=name, fix="use another model: options cannot be scored as a tree by this one")
    return LanguageBase(full_name(name), model.to("cuda" if gpu else "cpu").eval(), tokenizer)


def with_adapter(base: LanguageBase, folder: Path, *, trainable: bool = False) -> Any:
    """The base with an adapter that peft saved.

    Raises:
        UserError: there is none, or it belongs to another model.
    """
    import peft

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return peft.PeftModel.from_pretrained(base.model, str(folder), is_trainable=trainable)
    except (OSError, ValueError, RuntimeError) as error:
        said = str(error).strip().splitlines()[0][:300]
        fix = "train the student again: `nightshift distill train`"
        raise UserError(f"the adapter cannot be loaded ({said})", where=str(folder), fix=fix) from error


_NAMES = "name smollm2, a GGUF file, a model's folder, or owner/model on the Hugging Face Hub"


def _libraries() -> tuple[Any, Any]:
    try:
        import accelerate  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import peft  # noqa: F401  # pyright: ignore[reportUnusedImport]
        import torch
        import transformers
    except ImportError as error:
        missing = error.name or "transformers"
        raise UserError(f"a student that is a language model needs the package {missing}", fix=INSTALL) from error
    return torch, transformers


@contextmanager
def quiet(transformers: Any) -> Generator[None]:
    """Without progress bars and advice while something is loaded or saved."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _source(name: str) -> str:
    """Where the model is loaded from."""
    if name in PACKAGED:
        if not is_fetched(PACKAGED[name], default_cache()):
            what = f"the weights of {name} are not on this machine"
            raise UserError(what, fix=f"fetch them: `nightshift models fetch {name}`")
        return str(model_path(PACKAGED[name], default_cache()))
    path = Path(name).expanduser()
    if path.exists():
        return str(path.resolve())
    if name.endswith(".gguf") or name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise UserError("there is no such language model", where=name, fix=_NAMES)
    return name


def _unpacked(gguf: str) -> str:
    """The folder of a GGUF file's model in Hugging Face's format: made once, as reading a GGUF takes long."""
    path = Path(gguf)
    home = default_cache() / "models"
    made = home / f"{path.stem}-{_sha256(path)[:16]}"
    if (made / "config.json").is_file():
        return str(made)
    import transformers

    home.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=home, prefix=".new-"))
    try:
        with quiet(transformers):
            config = transformers.GgufConfig(dequantize=True)  # else it cannot be saved
            model = transformers.AutoModelForCausalLM.from_pretrained(
                str(path.parent), gguf_file=path.name, quantization_config=config
            )
            model.save_pretrained(part)
            transformers.AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name).save_pretrained(part)
        try:
            os.replace(part, made)
        except OSError:
            if not (made / "config.json").is_file():  # else another process was first
                raise
    except (ImportError, OSError, ValueError, KeyError) as error:
        said = str(error).strip().splitlines()[0][:300]
        raise UserError(f"the GGUF file cannot be read ({said})", where=gguf, fix="use another file") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return str(made)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()
