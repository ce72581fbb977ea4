"""Generator of share/: manual pages, and completions for bash, zsh and fish.

`python share.py DIRECTORY` writes all of it there, as below /usr/share.
"""

import sys
from pathlib import Path

from manuals import pages

from s3mount.cli.completion import completion_script
from s3mount.cli.parser import mount_command
from s3mount.ctl.commands import GROUP

COMPLETIONS = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def files() -> dict[str, str]:
    """Return the content of each file, by its path below share/."""
    commands = {"s3mount": mount_command(), "s3mountctl": GROUP}
    completions = {
        path.format(program): completion_script(command, program, shell).strip() + "\n"
        for shell, path in COMPLETIONS.items()
        for program, command in commands.items()
    }
    return completions | {f"man/{path}": text for path, text in pages().items()}


def main() -> None:
    for name, text in files().items():
        path = Path(sys.argv[1], name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
