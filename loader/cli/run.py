"""`mlx-cards run`: load a model and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from loader.cli import common
from loader.resize import Detail
from registry.choice import gigabytes

if TYPE_CHECKING:
    from loader.response import Response


@click.command()
@click.argument("name", metavar="NAME|FOLDER")
@common.text
@common.images
@common.system
@common.messages
@common.detail
@common.max_tokens
@click.option("--exact", is_flag=True, help="Decode every pixel of large JPEGs, however small they are seen.")
@common.private
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True)
@click.option("--seed", type=int, help="Makes sampling repeatable.")
@click.option("--card", metavar="NAME", help="The model that a folder holds.")
@click.option("--device", metavar="NAME", help="Choose the quantization for another Mac: m4-max-64gb.")
@click.option("--revision", metavar="REV", help="A branch, tag or commit of the hub repository.")
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="Let Python inside the checkpoint run with your rights.",
)
@click.option("--memory-limit", metavar="SIZE", help="Take so much memory at most: 20gb.")
@click.option("--no-memory-check", is_flag=True, help="Try what the memory does not allow.")
@common.as_json
def run(
    name: str,
    question: str | None,
    images: tuple[str, ...],
    system: str | None,
    file: str | None,
    detail: Detail,
    max_image_tokens: int | None,
    exact: bool,
    allow_private_urls: bool,
    max_tokens: int,
    temperature: float,
    seed: int | None,
    card: str | None,
    device: str | None,
    revision: str | None,
    trust_remote_code: bool,
    memory_limit: str | None,
    no_memory_check: bool,
    as_json: bool,
) -> None:
    """Load model NAME (or a checkpoint FOLDER) and answer; the text appears as it is written.

    \b
    mlx-cards run qwen2.5-vl-7b -p "What is this?" -i photo.jpg
    mlx-cards run qwen2.5-vl-7b@4bit -p "Compare." -i a.jpg -i b.jpg --detail low
    mlx-cards run ./my-checkpoint --messages conversation.json --json
    """
    asked = common.conversation(question, file)

    import registry

    model = registry.load(
        name,
        card=card,
        device=device,
        revision=revision,
        trust_remote_code=trust_remote_code,
        progress=not as_json,
        memory_limit=memory_limit,
        check_memory=not no_memory_check,
    )
    if model.choice is not None:
        click.echo(f"{model.choice.model}@{model.choice.quantization}: {model.choice.why}", err=True)
    with model.stream(
        asked,
        list(images),
        system=system,
        detail=detail,
        max_image_tokens=max_image_tokens,
        exact=exact,
        allow_private_urls=allow_private_urls,
        max_tokens=max_tokens,
        temperature=temperature,
        seed=seed,
    ) as stream:
        for text in stream:
            if not as_json:
                click.echo(common.printable(text), nl=False)
    if as_json:
        common.print_json(stream.response.to_dict())
    else:
        _facts(stream.response)


def _facts(response: Response) -> None:
    """What was done, on standard error so that the answer can be piped."""
    click.echo()
    for seen in response.images:
        click.echo(f"{seen.source}: {seen.plan.note}", err=True)
    for spelling in response.escaped:
        click.echo(f"{spelling} in the text was broken by a space: it is a control token.", err=True)
    for warning in response.warnings:
        click.echo(warning, err=True)
    times = response.timings
    click.echo(
        f"{response.prompt_tokens:,} prompt tokens, {response.completion_tokens:,} answered "
        f"({response.finish_reason}); first token after {times.prepare + times.first_token:.2f} s, "
        f"peak {gigabytes(response.peak_memory)}",
        err=True,
    )
