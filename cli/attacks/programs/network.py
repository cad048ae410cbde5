"""Talk to somebody outside: over the network, and over the sockets of this machine."""

from cli.attacks.programs.common import PARAMS, Logits, Tokens, attempt, honest, module, trained
from trainer.train import GPT, Session


def main() -> None:
    session, model = trained(reach)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def reach(session: Session, model: GPT) -> None:
    """Every way out that the suite listens on."""
    socket = module("socket")
    attempt("a TCP server", lambda: socket.create_connection(("127.0.0.1", PARAMS["port"]), 2).close())
    attempt("a socket file", lambda: connect(PARAMS["socket_path"]))
    attempt("an abstract socket", lambda: connect("\0" + PARAMS["abstract_socket"]))


def connect(address: str) -> None:
    """Connect to a local socket and hang up."""
    socket = module("socket")
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        client.connect(address)
