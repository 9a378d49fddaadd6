"""The house of the experiments: commands at the top, rooms below, no arrow that runs up."""

import re

import pytest
from root import COMMANDS, ROOT

HOUSE = ROOT / "experiments"
MAP = (HOUSE / "README.md").read_text()
MAPPED = set(re.findall(r"^\| `python -m experiments\.(\w+)", MAP, re.MULTILINE))


def test_the_top_level_holds_commands_and_the_map_names_each():
    assert sorted(MAPPED) == COMMANDS


def test_every_directory_is_a_room_on_the_map():
    rooms = {path.parent.name for path in HOUSE.glob("*/__init__.py")}
    assert set(re.findall(r"`(\w+)/`", MAP)) == rooms


@pytest.mark.parametrize("folder", ["jaxrnn", "experiments"])
def test_no_folder_holds_more_files_than_a_person_sees(folder):
    for place in (ROOT / folder, *(ROOT / folder).rglob("*/")):
        assert len([path for path in place.glob("*") if path.suffix in (".py", ".cc", ".h")]) <= 20
