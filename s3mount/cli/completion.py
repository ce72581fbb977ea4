"""Completion of command lines in bash, zsh and fish, by click.

The shell's script runs the command with `_COMMAND_COMPLETE` in its environment, see click's
documentation, "Shell Completion".
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from s3mount.cli.standard_output import output_error

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS: Final = ("bash", "zsh", "fish")

# of click's scripts, all shells: what is replaced, and by what
_CORRECTIONS: Final = {
    # zsh loads the function once, and calls it each time: click's test holds the first time only
    "$zsh_eval_context[-1] == loadautofunc": "$funcstack[1] == _{program}",
    # bash inserts a word as it is: blanks would end it
    "COMPREPLY+=($value)": 'COMPREPLY+=("$(printf %q "$value")")',
    # fish would lose what comes after a second comma
    'string split ","': 'string split -m 1 ","',
}


class CompletedText(click.ParamType[str]):
    """A text that is parsed later. The shell completes it as one of *words*, or by itself.

    *kind* is "file" or "dir" if it is a path; click's own type of paths would access it.
    """

    name = "text"

    def __init__(self, words: Sequence[str] = (), kind: str = "plain") -> None:
        self._words = words
        self._kind = kind

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> "list[CompletionItem]":
        """Return what the shell is to show, or the kind of path that it completes itself."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - when a shell asks

        if self._kind != "plain":
            return [CompletionItem(incomplete, type=self._kind)]
        return [CompletionItem(word) for word in self.words() if word.startswith(incomplete)]

    def words(self) -> Sequence[str]:
        """Return all words, when a shell asks for them."""
        return self._words


def variable(program: str) -> str:
    """Return the variable by which the shell's script asks for completions of *program*."""
    return f"_{program.upper().replace('-', '_')}_COMPLETE"


def complete(
    command: Callable[[], click.Command], program: str, environment: Mapping[str, str]
) -> int | None:
    """Print what the shell asks for, and return the exit status; None if no shell asks.

    Raises OutputError.
    """
    instruction = environment.get(variable(program))
    if not instruction:
        return None
    from click.shell_completion import shell_complete  # noqa: PLC0415 - 5 ms that few starts need

    try:
        return shell_complete(command(), {}, program, variable(program), instruction)
    except OSError as exc:  # click writes bytes, past the stream that is checked
        raise output_error(exc) from exc


def completion_script(command: click.Command, program: str, shell: str) -> str:
    """Return the script that *shell* loads."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    script = kind(command, {}, program, variable(program)).source()
    for clicks, ours in _CORRECTIONS.items():
        script = script.replace(clicks, ours.format(program=program))
    return script
