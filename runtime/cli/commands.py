"""The group of commands: rich help, plain errors, and what was perhaps meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from typer.core import TyperGroup

from runtime.cli.inputs import is_picture, is_scene
from runtime.cli.suggest import near

if TYPE_CHECKING:
    from typer import Context


class Commands(TyperGroup):
    """Help with panels; errors as plain lines, which scripts can search and narrow terminals do not break."""

    def __init__(self, **about: Any) -> None:  # noqa: ANN401 - typer's own
        super().__init__(**{**about, "rich_markup_mode": None})

    def format_help(self, ctx: Context, formatter: Any) -> None:  # type: ignore[override]  # noqa: ANN401 - typer's own
        from typer import rich_utils

        rich_utils.rich_format_help(obj=self, ctx=ctx, markup_mode="rich")

    def resolve_command(self, ctx: Context, args: list[str]) -> Any:  # type: ignore[override]  # noqa: ANN401 - typer's own
        """Find the command, or say which one may have been meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            ctx.fail(f"there is no command `{name}`; {self.guess(name)}")
        return super().resolve_command(ctx, args)

    def guess(self, name: str) -> str:
        """What may have been meant."""
        if is_picture(name) or is_scene(name) or os.path.exists(name):
            return f'to look for something in it: `vlscore locate {name} "a dog"`'
        return near(name, self.commands).removeprefix("; ") or f"there are {', '.join(self.commands)}"
