"""Draw the pictures of the README again: learn, train and draw in a temporary folder, then replace those in docs/images.

uv run python docs/refresh_images.py

Frankenstein's figures take half a minute. The picture of the explorer takes another two, and needs Chromium; without it, it is
left as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tokembed import Embeddings
from tokembed.analysis.film import film_words
from tokembed.analysis.projection import project
from tokembed.figures import moving

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
FIGURES = ("merge_progression", "cross_domain", "pathological", "projection_tsne", "training_progress")
NOVEL = ("--num-merges", "5000", "--epochs", "20", "--window-size", "10")  # what the README recommends
EXPLORER_WIDTH, EXPLORER_HEIGHT = 1280, 2245
SENTENCE = "The miserable creature wandered among the mountains."  # of the moving picture
NUM_MAP_WORDS = 120


def run(script: str, *flags: str | Path) -> None:
    """Run a script of a phase as a user does; stop if it fails."""
    subprocess.run([sys.executable, str(ROOT / script), *map(str, flags)], cwd=ROOT, check=True)


def take_explorer(folder: Path, chromium: str) -> None:
    """Photograph the explorer of WikiText-2, opened at "river"."""
    run("phase3_embeddings/train_embeddings.py", "--dataset", "wikitext2", "--output-dir", folder)
    run("phase3_embeddings/explore.py", "--checkpoint", folder / "wikitext2.safetensors", "--output-dir", folder)
    shot = folder / "explorer.png"
    browser = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={EXPLORER_WIDTH},{EXPLORER_HEIGHT}"]
    page = (folder / "explorer.html").as_uri() + "#word=river"
    subprocess.run([chromium, *browser, "--virtual-time-budget=20000", f"--screenshot={shot}", page], check=True)
    Image.open(shot).convert("RGB").save(IMAGES / "explorer.png", optimize=True)


def draw_moving_picture(checkpoint: Path) -> None:
    """Draw a sentence from letters to tokens, and its words among frequent ones on the map."""
    embeddings = Embeddings.load(checkpoint)
    assert embeddings.tokenizer is not None
    tokens = [token for token in embeddings.tokenizer.tokenize(SENTENCE) if token in film_words(embeddings, len(embeddings))]
    tokens = list(dict.fromkeys([*tokens, *film_words(embeddings, NUM_MAP_WORDS)]))
    points = project(embeddings.vectors[[embeddings.token_to_index[token] for token in tokens]])
    frames = moving.moving_picture(embeddings.tokenizer, SENTENCE, [embeddings.word_of(token) for token in tokens], points)
    moving.save_gif(frames, IMAGES / "letters_to_map.gif")


def main() -> int:
    """Replace the pictures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run("phase1_bpe/visualize_merges.py", "--dataset", "frankenstein", "--output-dir", folder)
        run("phase2_analysis/cross_domain_test.py", "--dataset", "frankenstein", "--output-dir", folder)
        run("phase3_embeddings/train_embeddings.py", "--dataset", "frankenstein", *NOVEL, "--output-dir", folder)
        checkpoint = ("--checkpoint", folder / "frankenstein.safetensors")
        run("phase3_embeddings/visualize_embeddings.py", *checkpoint, "--output-dir", folder)
        for figure in FIGURES:
            shutil.copy(folder / f"{figure}.png", IMAGES)
        draw_moving_picture(folder / "frankenstein.safetensors")
        chromium = shutil.which("chromium")
        if chromium:
            take_explorer(folder, chromium)
        else:
            print("the picture of the explorer is left as it is: it needs Chromium")
    print(f"replaced the pictures in {IMAGES.relative_to(ROOT)}: look at them before you commit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
