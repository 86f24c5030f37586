"""`python tests/screens`: show what differs from the kept screens; with --update, keep these.

Update them only together with a change of the screen that is meant, and look at the difference that
is printed, and at the pictures, before you commit it. `--svg DIR` writes a picture of every screen;
`--docs` writes those that the documentation shows.
"""

import argparse
import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from screens.documented import pictures
from screens.gallery import DOCS, Gallery, differing, keep, kept, photographed, with_local_time


async def _run(update: bool, svg: Path | None) -> int:
    differs = False
    async for gallery in photographed():
        found = differing(kept(gallery.name), gallery.pages)
        print(f"{gallery.name}: {'differs' if found else 'the same'}")
        for line in found:
            print(f"  {line}")
        differs |= bool(found)
        if update and found:
            keep(gallery)
        if svg is not None:
            _write(svg, gallery)
    return int(differs and not update)


def _write(folder: Path, gallery: Gallery) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for tab, picture in gallery.pictures.items():
        (folder / f"{gallery.name}-{tab}.svg").write_text(picture, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/screens", description=__doc__)
    parser.add_argument("--update", action="store_true", help="keep the screens as they are now")
    parser.add_argument("--svg", type=Path, metavar="DIR", help="write a picture of every screen")
    parser.add_argument("--docs", action="store_true", help="write the pictures of docs/ anew")
    arguments = parser.parse_args()
    with with_local_time():
        if arguments.docs:
            return asyncio.run(_docs())
        return asyncio.run(_run(arguments.update, arguments.svg))


async def _docs() -> int:
    DOCS.mkdir(exist_ok=True)
    async for name, picture in pictures():
        (DOCS / name).write_text(picture, encoding="utf-8")
        print(f"docs/pictures/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
