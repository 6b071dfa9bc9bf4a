"""Which words does a text use most? Reads every .txt and .md file of the workspace.

    thane run examples/words.py --file README.md --file notes.txt

Writes words.csv.
"""

import csv
import re
from collections import Counter
from pathlib import Path

COMMON = {
    *[
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "in",
        "is",
        "it",
        "its",
        "not",
        "of",
        "on",
        "or",
        "that",
        "the",
        "to",
        "was",
        "with",
        "you",
    ]
}


def main() -> None:
    files = sorted(path for path in Path().iterdir() if path.suffix in {".txt", ".md"})
    if not files:
        raise SystemExit(
            "no .txt or .md file here: pass one, as in `thane run examples/words.py --file README.md`"
        )
    words: Counter[str] = Counter()
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [word.lower() for word in re.findall(r"[^\W\d_]{2,}", text)]
        words.update(found)
        print(f"{path.name}: {len(text.splitlines()):,} lines, {len(found):,} words")
    top = [(word, count) for word, count in words.most_common() if word not in COMMON][:15]
    longest = max(count for _, count in top)
    print()
    for word, count in top:
        print(f"{word:>16} {count:5,} {'█' * round(40 * count / longest)}")
    with Path("words.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["word", "count"])
        writer.writerows(words.most_common())


if __name__ == "__main__":
    main()
