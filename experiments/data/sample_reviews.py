"""A built-in data set for machines without one: short film reviews from a small seeded grammar.

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
behind it, some forty words and more; and it has to follow negation ("anything but dull",
"not charming but stale").

Accuracy on 2,000 test reviews after 15,000: logistic regression on counts of words 0.59, with
pairs 0.66, with triples 0.66; LSTM and GRU with `experiments.imdb`'s defaults 0.97.
"""

import random

# A place `{name}` in a phrase takes one of PHRASES[name].
PHRASES: dict[str, tuple[str, ...]] = {
    "title": (
        "Harbour Lights",
        "The Last Ferry",
        "A House in Winter",
        "Seven Bridges",
        "The Clockmaker",
        "Salt and Paper",
        "Northern Line",
        "The Orchard",
    ),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "screen": ("a small cinema", "the old theatre", "a festival", "the student club"),
    "person": (
        "a retired teacher",
        "a young lawyer",
        "the captain of a ferry",
        "a night porter",
        "a sailor",
        "a widow with three dogs",
        "a student of music",
        "the village doctor",
        "an old thief",
        "a nurse",
        "her cousin",
        "a man with a violin",
    ),
    "deed": (
        "finds a map",
        "hides a letter",
        "buys a piano",
        "waits for a train",
        "follows a stranger",
        "opens a bakery",
        "steals a boat",
        "loses a key",
        "paints a door",
        "answers the wrong call",
        "learns to swim",
        "sells the farm",
    ),
    "place": (
        "in an empty hotel",
        "on a small island",
        "near the border",
        "behind the station",
        "at the edge of a lake",
        "in a town without a school",
        "under a bridge",
        "in the mountains",
    ),
    "Time": ("One morning", "After the war", "In the spring", "Years later", "That same night"),
    "opening": (
        "We saw {title} at {screen} on {day}.",
        "On {day} they showed {title} at {screen}.",
        "{title} was on at {screen} last {day}, and the hall was half full.",
        "Three of us went to see {title} on {day}.",
    ),
    "plot": (
        "The story begins when {person} {deed}.",
        "Then {person} {deed}, and the police arrive.",
        "We also meet {person}, who {deed}.",
        "In the second part {person} {deed} {place}.",
        "By the end {person} {deed}.",
        "The camera stays with {person}, who {deed}.",
        "{Time} {person} {deed} {place}.",
    ),
    "closing": (
        "We took the tram home.",
        "It rained when we left.",
        "The lights went on at ten.",
        "On the way out they sold tea.",
    ),
    "believe sister": (
        "About films my sister is always right and my brother is always wrong.",
        "When it comes to films, trust my sister and never my brother.",
        "My sister has my taste in films, my brother has the opposite.",
    ),
    "believe brother": (
        "About films my brother is always right and my sister is always wrong.",
        "When it comes to films, trust my brother and never my sister.",
        "My brother has my taste in films, my sister has the opposite.",
    ),
    "sister": ("My sister{aside} said {bridge}", "My sister{aside} told us {bridge}"),
    "brother": ("My brother{aside} said {bridge}", "My brother{aside} told us {bridge}"),
    "me": (
        "I{aside} must say {bridge}",
        "My own view{aside} is {bridge}",
        "I myself{aside} found {bridge}",
        "I came out{aside} and knew {bridge}",
    ),
    "others": (
        "The critics{aside} wrote {bridge}",
        "A friend{aside} told us {bridge}",
        "The poster{aside} claims {bridge}",
        "Everyone at work{aside} thinks {bridge}",
    ),
    "aside": (
        *[""] * 6,  # half of the time nothing
        ", on the tram home,",
        ", after a long walk,",
        ", over a glass of wine,",
        ", before the lights went on,",
        ", in so many words,",
        ", as you might expect,",
    ),
    "bridge": ("that it was", "that the film was", "that the whole thing was"),
    "good": ("gripping", "funny", "moving", "clever", "brilliant", "charming", "superb", "lively"),
    "bad": ("dull", "boring", "clumsy", "stupid", "dreadful", "tedious", "stale", "lifeless"),
}
# An opinion asserts words of its own sign and denies words of the other.
OPINIONS = (
    "{yes[0]} and {yes[1]}",
    "{yes[0]}, {yes[1]} and {yes[2]}",
    "really {yes[0]} and {yes[1]} from start to end",
    "{yes[0]}, yes, {yes[1]}",
    "so {yes[0]} and so {yes[1]} that nobody moved",
    "far more {yes[0]} than expected",
    "anything but {no[0]}, and not {no[1]} at all",
    "never {no[0]} for a minute",
    "not {no[0]} but {yes[0]}",
)
ADVISED = 0.25  # share of the reviews whose opening says whom to believe
SISTER = 0.8  # share of those that believe the sister: a rule and its exception
AGREE = 0.3  # share of the reviews whose two opinions agree: the foothold to learn from
# Sentences of plot before, between and behind the opinions. There is always one between, or the
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
    before, between, behind = ([_phrase(rng, "plot") for _ in range(rng.choice(n))] for n in PLOT)
    first, second = (f"{_phrase(rng, owner)} {_opinion(rng, sign)}." for owner, sign in says)
    lines += [*before, first, *between, second, *behind, _phrase(rng, "closing")]
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
