"""Makes the built-in sample of reviews, for machines without IMDB: a small seeded grammar.

    texts, labels = reviews(seed=0, n=4000)     # label 0: a negative review, 1: a positive one

Every review holds two opinions in the same kinds of words, and one of them is the verdict:
either the reviewer speaks and also reports what somebody else thought, or the opening names
whom of two people to believe and both speak later. So

    label = sign of the opinion whose owner counts

In 70% of the reviews the two owners disagree. Exchanging their opinions then turns the label
over and keeps every word, so whatever a bag of words holds, both labels are equally likely:
no model of word counts, however large, can expect more than 0.7 * 50% + 0.3 * 100% = 65%.
The words next to an opinion are the same for all owners, so runs of a few words tell no more.
A model has to carry the opening's advice to the speaker, the speaker over an aside to the
opinion ("My sister, on the tram home, said that it was ..."), and the verdict over the plot
that follows, some forty words and more; and it has to follow negation ("anything but dull",
"not charming but stale").

Accuracy on 2,000 test reviews after 15,000: logistic regression on counts of words 0.59, with
pairs 0.66, with triples 0.66; LSTM and GRU with `experiments.imdb`'s defaults 0.97.
"""

import random
import tomllib
from pathlib import Path

_TEXTS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
PHRASES: dict[str, list[str]] = _TEXTS["phrases"]
OPINIONS: list[str] = _TEXTS["opinions"]
ADVISED = 0.25  # share of the reviews whose opening says whom to believe
SISTER = 0.8  # share of those that believe the sister: a rule and its exception
AGREE = 0.3  # share of the reviews whose two opinions agree: the foothold to learn from
# Sentences of plot before, between and after the opinions. There is always one between, or the
# last word of an opinion beside the first of the next owner would say whose it was.
PLOT = ((0, 0, 1), (1,), (0, 0, 1, 2, 3))


def _phrase(rng: random.Random, name: str) -> str:
    """One of the phrases `name`, its places filled from left to right."""
    phrase = rng.choice(PHRASES[name])
    while "{" in phrase:
        before, _, rest = phrase.partition("{")
        inner, _, after = rest.partition("}")
        phrase = before + _phrase(rng, inner) + after
    return phrase


def _opinion(rng: random.Random, positive: bool) -> str:
    yes, no = ("good", "bad") if positive else ("bad", "good")
    words = {"yes": rng.sample(PHRASES[yes], 3), "no": rng.sample(PHRASES[no], 2)}
    return rng.choice(OPINIONS).format(**words)


def _review(rng: random.Random, positive: bool) -> str:
    lines = [_phrase(rng, "opening")]
    believed, other = "me", "others"
    if rng.random() < ADVISED:
        believed, other = "sister", "brother"
        if rng.random() >= SISTER:
            believed, other = other, believed
        lines.append(_phrase(rng, f"believe {believed}"))
    agree = rng.random() < AGREE
    says = [(believed, positive), (other, positive == agree)]
    rng.shuffle(says)
    before, between, after = ([_phrase(rng, "plot") for _ in range(rng.choice(n))] for n in PLOT)
    first, second = (f"{_phrase(rng, owner)} {_opinion(rng, sign)}." for owner, sign in says)
    lines += [*before, first, *between, second, *after, _phrase(rng, "closing")]
    return " ".join(lines)


def reviews(seed: int, n: int) -> tuple[list[str], list[int]]:
    """`n` reviews and their labels in random order; half are positive (one more if `n` is odd).

    A pure function of its arguments, the same in every process and on every machine. No text of
    seed 0 is among those of seed 1, for any number that is made of them here.
    """
    rng = random.Random(f"reviews {seed}")
    labels = [i % 2 for i in range(1, n + 1)]
    rng.shuffle(labels)
    return [_review(rng, label == 1) for label in labels], labels
